#!/bin/sh
# Makes the home ready, as root: whose it is, what is in it, what comes with the image. Everything
# inside it is done as its user, or without following links.
set -eu
home=${HERMES_HOME:-/opt/data}
install=/opt/hermes

as_user() { s6-setuidgid hermes "$@"; }

if [ "${HERMES_GID:-$(id -g hermes)}" != "$(id -g hermes)" ]; then
	groupmod --non-unique --gid "$HERMES_GID" hermes
fi
if [ "${HERMES_UID:-$(id -u hermes)}" != "$(id -u hermes)" ]; then
	usermod --uid "$HERMES_UID" hermes
fi

if [ "$(stat -c %u "$home")" != "$(id -u hermes)" ]; then
	echo "[setup] giving $home to hermes"
	chown -hR hermes:hermes "$home" || echo "[setup] can't give it away; going on"
fi
[ ! -d "$home/profiles" ] || chown -hR hermes:hermes "$home/profiles" || true

for dir in cron sessions logs hooks memories skills skins plans workspace home; do
	as_user mkdir -p "$home/$dir"
done
[ -e "$home/SOUL.md" ] || [ ! -e "$install/docker/SOUL.md" ] ||
	as_user cp "$install/docker/SOUL.md" "$home/SOUL.md"
if [ ! -e "$home/auth.json" ] && [ -n "${HERMES_AUTH_JSON_BOOTSTRAP:-}" ]; then
	as_user sh -c 'umask 077; printf %s "$HERMES_AUTH_JSON_BOOTSTRAP" > "$0"' "$home/auth.json"
fi

if [ -d "$install/skills" ]; then
	export HERMES_BUNDLED_SKILLS="$install/skills"
	as_user "$install/.venv/bin/python3" "$install/tools/skills_sync.py" ||
		echo "[setup] the skills were not synced; going on"
fi
echo "[setup] done"
