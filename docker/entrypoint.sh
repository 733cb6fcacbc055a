#!/bin/sh
# For compose files that name this file as their entrypoint: the way in is /init.
exec /init "$@"
