#!/command/with-contenv sh
# CMD's first word names a program, or else all of it is the agent's; without words the agent runs.
export HOME="$HERMES_HOME"
if [ $# -eq 0 ]; then
	set -- hermes
elif ! command -v "$1" >/dev/null 2>&1; then
	set -- hermes "$@"
fi
exec s6-setuidgid hermes "$@"
