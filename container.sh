# The main process of a container: the first lane, and the dead-man's switch.
# Arguments: the seconds the container may live, 0 for ever; the lane's command.
#
# Standard input is a connection that the owner holds open. It goes through
# cat, so that its end is seen also while the lane is busy; then the container
# ends with this process. A killed cat or sleep is no reason to end it.
life=$1
shift
[ "$life" = 0 ] || { sleep "$life" && kill -KILL $$; } </dev/null >/dev/null 2>&1 &
command -v cat >/dev/null || cat() {
	while IFS= read -r line; do printf '%s\n' "$line"; done
}
{
	until cat; do
		case $? in 126 | 127) break ;; esac
	done
	kill -KILL $$
} | "$@"
