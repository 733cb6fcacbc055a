#!/bin/sh
# herm: stands for the words after it
#
# For compose files that name this file as their command: /init takes it away and runs what CMD
# would have been without it. The rest is for who calls it by hand.
exec hermes "$@"
