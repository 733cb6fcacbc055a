#!/bin/sh
# For compose files that name this file as their command: the command line is what CMD would
# have been, and /init has already chosen user, environment and directory.
exec hermes "$@"
