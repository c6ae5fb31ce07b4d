fail() {
	printf '{"error_kind":"%s","message":"%s","detail":""}\n' "$1" "$2" >&2
	exit 1
}
case $1 in
ReadFile)
	[ -e "$2" ] || fail NotFound "no such file"
	[ ! -d "$2" ] || fail IsDirectory "is a directory"
	cat <"$2" 2>/dev/null || fail PermissionDenied "cannot be read"
	;;
WriteFile)
	mkdir -p -- "${2%/*}" 2>/dev/null || fail NotDirectory "no such directory"
	[ ! -d "$2" ] || fail IsDirectory "is a directory"
	: 2>/dev/null >>"$2" || fail PermissionDenied "cannot be written"
	exec dd of="$2" bs=64k 2>/dev/null
	;;
*) fail Other "not known to this fake: $1" ;;
esac
