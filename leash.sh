# The dead-man's switch of a sandbox. When no line has come for $1 seconds, it
# goes on to the sweep below, which ends the shells that wait for commands, so
# that nothing keeps the sandbox from being idle. A killed sleep is no silence.
exec 3<&0
trap : USR1
{ while read -r line; do kill -USR1 $$; done; } <&3 &
while :; do
	sleep "$1" &
	nap=$!
	wait "$nap" && break
	kill "$nap" 2>/dev/null
done
