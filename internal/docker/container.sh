# The main process of a container. It runs the first lane, and kills the
# container when its owner or its time is gone.
# Arguments: lifetime in seconds (0 means no limit), then the lane's argv.
#
# The owner holds stdin open. cat forwards it, so that end of file is noticed
# even while the lane is busy; a cat or sleep that gets killed must not end the
# container. This process is a child of the init process, so KILL reaches it.
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
