# shellcheck shell=sh
# shellcheck disable=SC2034 # some variables only take a field that is not needed, or are for a later script

# The dead-man's switch of a sandbox. When no line has come for $1 seconds, it
# goes on to the sweep below, which ends the shells that wait for commands, so
# that nothing keeps the sandbox from being idle. A killed sleep is no silence.
exec 3<&0
trap : USR1
{ while read -r line; do kill -USR1 $$; done; } <&3 &
while :; do
	sleep "$1" &
	sleeper=$!
	wait "$sleeper" && break
	kill "$sleeper" 2>/dev/null
done
