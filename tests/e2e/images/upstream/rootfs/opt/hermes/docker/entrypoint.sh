#!/bin/sh
exec /opt/hermes/docker/stage2-hook.sh "$@"
