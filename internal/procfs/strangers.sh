# Prints the uid:gid of all processes that may not be looked into from here:
# it takes both to be allowed to. A process that has ended meanwhile has no
# status to read.
peek() { return 0; }
user() {
	uid=
	while read -r key id rest; do
		case $key in
		Uid:) uid=$id ;;
		Gid:) [ -n "$uid" ]; return ;;
		esac
	done
	return 1
}
seen=' '
for dir in /proc/[0-9]*; do
	[ "$dir" != /proc/1 ] || continue # the container's init
	{ peek <"$dir/environ"; } 2>/dev/null && continue
	{ user <"$dir/status"; } 2>/dev/null || continue
	case $seen in *" $uid:$id "*) continue ;; esac
	seen="$seen$uid:$id "
	echo "$uid:$id"
done
exit 0
