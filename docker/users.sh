#!/bin/sh
# Makes the accounts of an image with a home. Run once while the image is built.
#
# hermes    the service user: keeper, gateways, main program. 10000 is far from what a
#           distribution hands out, so that a mounted volume never matches a host account
#           by accident; HERMES_UID and HERMES_GID change it at boot.
# herm-log  the log daemon's own user: no agent can signal, trace or impersonate it.
set -eu

groupadd --gid 10000 hermes
useradd --uid 10000 --gid 10000 --home-dir /opt/data --no-create-home --shell /bin/bash hermes
groupadd --system --gid 990 herm-log
useradd --system --uid 990 --gid 990 --home-dir /nonexistent --no-create-home \
	--shell /usr/sbin/nologin herm-log

install -d -o hermes -g hermes -m 0755 /opt/data
install -d -m 0755 /opt/hermes /opt/hermes/docker
