# File operations in an environment that can only run commands.
#
# The caller sets variables in front of this script: fs_op is the operation, one
# of those in the case statement at the end; fs_name the absolute path that it is
# about; fs_temp the name of a temporary file; fs_none, fs_denied and so on the
# exit codes (see script.go). All variables and functions begin with fs_.
#
# POSIX sh and cat, chmod, ls, mv, rm and touch; readlink for symbolic links, tar
# for trees, date for modification times.
#
# shellcheck shell=sh
# shellcheck disable=SC2154 # the caller sets them
LC_ALL=C
export LC_ALL
unset TAR_OPTIONS CDPATH

# fs_missing exits with the reason why $1 cannot be found: a parent that does not
# exist, cannot be searched, or is no directory.
fs_missing() {
	fs_p=$1
	while [ "$fs_p" != "${fs_p%/*}" ]; do
		fs_p=${fs_p%/*}
		if [ -d "$fs_p/" ]; then
			[ -x "$fs_p/" ] || exit "$fs_denied"
			exit "$fs_none"
		fi
		[ ! -e "$fs_p" ] || exit "$fs_notdir"
	done
	exit "$fs_none"
}

# fs_say prints an answer between two lines with the word of the call.
fs_say() { printf '\n%s\n%s\n%s\n' "$fs_word" "$1" "$fs_word"; }

# fs_find sets fs_kind to d for a directory and to f for a readable regular file,
# following symbolic links. It exits for anything else.
fs_find() {
	[ -e "$fs_name" ] || fs_missing "$fs_name"
	if [ -d "$fs_name" ]; then
		fs_kind=d
	elif [ -f "$fs_name" ]; then
		fs_kind=f
		[ -r "$fs_name" ] || exit "$fs_denied"
	else
		exit "$fs_special"
	fi
}

# fs_row sets fs_bits and fs_length to the mode of $1, as ls prints it, and its
# size in bytes. stat(1) is not in POSIX.
fs_row() {
	set -f
	# shellcheck disable=SC2046 # the fields of the line are wanted
	set -- $(ls -ldnL -- "$1")
	set +f
	fs_bits=$1 fs_length=$5
}

# fs_cat prints the file fs_name and exits.
fs_cat() {
	cat <"$fs_name" && exit 0
	[ -e "$fs_name" ] || fs_missing "$fs_name"
	exit "$fs_failed"
}

# fs_follow sets fs_name to what the symbolic links at fs_name lead to, which
# need not exist. Linux follows 40 links too. The dot keeps newlines at the end of
# a target, which a command substitution would drop.
fs_follow() {
	fs_hops=0
	while [ -L "$fs_name" ]; do
		fs_hops=$((fs_hops + 1))
		[ "$fs_hops" -le 40 ] || exit "$fs_loop"
		fs_link=$(readlink -- "$fs_name" && echo .) || exit "$fs_failed"
		fs_link=${fs_link%??}
		case $fs_link in
		/*) fs_name=$fs_link ;;
		*) fs_name=${fs_name%/*}/$fs_link ;;
		esac
	done
}

# fs_parent sets fs_dir to the directory that fs_name is in, with a slash at the
# end. It exits if there is none.
fs_parent() {
	fs_dir=${fs_name%/*}/
	[ -d "$fs_dir" ] || fs_missing "$fs_name"
}

# fs_locked reports whether fs_dir is on a file system that is mounted read-only:
# of the mount points above it, the longest one counts.
fs_locked() {
	fs_here=$(cd -P -- "$fs_dir" && pwd -P) || return 1
	fs_best='' fs_found=''
	# shellcheck disable=SC2034 # fields of /proc/mounts that are not needed
	while read -r fs_device fs_mount fs_type fs_options fs_rest; do
		case ${fs_here%/}/ in
		"${fs_mount%/}"/*) [ ${#fs_mount} -lt ${#fs_best} ] || fs_best=$fs_mount fs_found=$fs_options ;;
		esac
	done 2>/dev/null </proc/mounts
	case $fs_found in ro | ro,*) return 0 ;; esac
	return 1
}

# fs_broken exits with the reason why something in fs_dir could not be written. It
# is called after a failure only. Whether the disk is full can only be seen by
# writing to it: fs_temp in fs_dir gets 64 KiB and is removed.
fs_broken() {
	! fs_locked || exit "$fs_readonly"
	[ -w "$fs_dir" ] && [ -x "$fs_dir" ] || exit "$fs_denied"
	fs_code=$fs_failed
	{ printf '%65536s' x >>"$fs_dir$fs_temp"; } 2>/dev/null || fs_code=$fs_full
	rm -f -- "$fs_dir$fs_temp"
	exit "$fs_code"
}

# fs_target sets fs_file, the temporary file beside fs_name that is written and
# then renamed to it.
fs_target() {
	fs_follow
	[ ! -d "$fs_name" ] || exit "$fs_isdir"
	[ ! -e "$fs_name" ] || [ -f "$fs_name" ] || exit "$fs_special"
	fs_parent
	fs_file=$fs_dir$fs_temp
}

# fs_fill prints the content of the file: fs_text, or the standard input.
fs_fill() {
	case $fs_form in
	text) printf %s "$fs_text" ;;
	*) cat ;;
	esac
}

# fs_commit sets mode and time of fs_file and renames it to fs_name, unless its
# size is not fs_size.
fs_commit() {
	fs_row "$fs_file"
	if [ "$fs_length" != "$fs_size" ]; then
		rm -f -- "$fs_file"
		exit "$fs_short"
	fi
	[ -z "$fs_time" ] || TZ=UTC0 touch -m -t "$fs_time" -- "$fs_file"
	{ chmod "$fs_mode" "$fs_file" && mv -f -- "$fs_file" "$fs_name"; } || fs_broken
}

# fs_unreadable exits if something below the directory $1 cannot be read.
fs_unreadable() {
	for fs_f in "$1"/* "$1"/.[!.]* "$1"/..?*; do
		if [ -L "$fs_f" ]; then
			continue
		elif [ -d "$fs_f" ]; then
			[ -r "$fs_f" ] && [ -x "$fs_f" ] || exit "$fs_denied"
			fs_unreadable "$fs_f"
		elif [ -f "$fs_f" ] && [ ! -r "$fs_f" ]; then
			exit "$fs_denied"
		fi
	done
}

# fs_tree enters fs_name, a directory to copy from.
fs_tree() {
	cd -P -- "$fs_name" 2>/dev/null && [ -r . ] || exit "$fs_denied"
}

# fs_root enters fs_name, a directory to copy to, and makes it if it is missing.
fs_root() {
	fs_follow
	if [ ! -d "$fs_name" ]; then
		[ ! -e "$fs_name" ] || exit "$fs_notdir"
		fs_parent
		mkdir -- "$fs_name" 2>/dev/null || fs_broken
	fi
	fs_dir=$fs_name/
	cd -P -- "$fs_name" 2>/dev/null || exit "$fs_denied"
}

case $fs_op in
read)
	fs_find
	[ "$fs_kind" = f ] || exit "$fs_isdir"
	fs_row "$fs_name"
	[ "$fs_length" -le "$fs_max" ] || exit "$fs_large"
	fs_cat
	;;
write)
	fs_target
	trap 'rm -f -- "$fs_file"; exit 143' TERM HUP INT
	(umask 077 && set -C && fs_fill >"$fs_file") || fs_broken
	fs_commit
	;;
# For a backend that has its own way to fill fs_file: begin makes it and prints its
# name, commit and abort end it.
begin)
	fs_target
	(umask 077 && set -C && : >"$fs_file") 2>/dev/null || fs_broken
	fs_say "$fs_file"
	;;
commit)
	fs_target
	[ -O "$fs_file" ] || exit "$fs_elsewhere"
	fs_commit
	;;
abort)
	# End what still writes to the file, which has its name as an argument. The
	# pattern does not match itself: it has brackets.
	# shellcheck disable=SC2013 # names of /proc have no blanks
	for fs_f in $(grep -ls -- "[.]${fs_temp#.}" /proc/[0-9]*/cmdline); do
		fs_f=${fs_f#/proc/}
		[ "${fs_f%/*}" = "$$" ] || kill -9 "${fs_f%/*}"
	done 2>/dev/null
	fs_follow
	rm -f -- "${fs_name%/*}/$fs_temp"
	;;
from)
	fs_find
	if [ "$fs_kind" = f ]; then
		fs_row "$fs_name"
		echo "f $fs_length $fs_bits $(date -r "$fs_name" +%s 2>/dev/null)"
		fs_cat
	fi
	fs_tree
	command -v tar >/dev/null || exit "$fs_notar"
	echo d
	tar -cf - . && exit 0
	fs_code=$?
	# GNU tar exits with 1 if a file changed or vanished while it was read.
	case $fs_code/$(tar --version 2>/dev/null) in 1/*GNU*) exit 0 ;; esac
	fs_unreadable .
	exit "$fs_failed"
	;;
to)
	command -v tar >/dev/null || exit "$fs_notar"
	fs_root
	tar -xpof - || fs_broken
	;;
place)
	# Print the group and the real path of fs_name, for a backend that works on the
	# root file system from outside and as root. It exits with fs_elsewhere if that
	# would not be the same: the user is not root, something is mounted at, above or
	# below the path, or the path has unusual characters.
	# shellcheck disable=SC2034 # fields of /proc that are not needed
	while read -r fs_key fs_real fs_id fs_rest; do
		case $fs_key in
		Uid:) fs_uid=$fs_id ;;
		Gid:) fs_gid=$fs_id ;;
		esac
	done </proc/self/status
	[ "$fs_uid" = 0 ] || exit "$fs_elsewhere"
	fs_follow
	if [ -d "$fs_name" ]; then
		[ -w "$fs_name" ] || [ "$fs_for" = from ] || exit "$fs_elsewhere"
		fs_here=$(cd -P -- "$fs_name" && pwd -P && echo .) || exit "$fs_elsewhere"
		fs_here=${fs_here%??}
	else
		[ ! -e "$fs_name" ] && [ "$fs_for" = to ] || exit "$fs_elsewhere"
		fs_parent
		[ -w "$fs_dir" ] || exit "$fs_elsewhere"
		fs_here=$(cd -P -- "$fs_dir" && pwd -P && echo .) || exit "$fs_elsewhere"
		fs_here=${fs_here%??}
		fs_here=${fs_here%/}/${fs_name##*/}
	fi
	case $fs_here in / | *[!A-Za-z0-9_./,:+@=-]* | */. | */..) exit "$fs_elsewhere" ;; esac
	# shellcheck disable=SC2034 # see above
	while read -r fs_id fs_up fs_device fs_root fs_mount fs_rest; do
		[ "$fs_mount" != / ] || continue
		case $fs_here/ in "$fs_mount"/*) exit "$fs_elsewhere" ;; esac
		case $fs_mount/ in "$fs_here"/*) exit "$fs_elsewhere" ;; esac
	done </proc/self/mountinfo
	fs_say "$fs_gid $fs_here"
	;;
why)
	# Exit with the reason why nothing can be made at fs_name or in it.
	fs_dir=$fs_name/
	[ ! -d "$fs_dir" ] || fs_broken
	fs_parent
	fs_broken
	;;
clean)
	fs_follow
	rm -f -- "${fs_name%/*}/$fs_temp"
	;;
esac
