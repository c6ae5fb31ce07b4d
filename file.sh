# What a Terminal does with files through Exec. A call sets variables, among
# them the exit codes that it tells apart, and then fs_op to what is to be done
# with the absolute path fs_name. All names begin with fs_.
LC_ALL=C
export LC_ALL
unset TAR_OPTIONS CDPATH

# fs_missing exits with the reason why there is no $1.
fs_missing() {
	fs_p=$1
	while [ "$fs_p" != "${fs_p%/*}" ]; do
		fs_p=${fs_p%/*}
		if [ -d "$fs_p/" ]; then
			[ -x "$fs_p/" ] || exit $fs_denied
			exit $fs_none
		fi
		[ ! -e "$fs_p" ] || exit $fs_notdir
	done
	exit $fs_none
}

# fs_say prints an answer between two lines with the word of the call.
fs_say() { printf '\n%s\n%s\n%s\n' "$fs_word" "$1" "$fs_word"; }

# fs_find sets fs_kind of what is there, which may be at the end of a link.
fs_find() {
	[ -e "$fs_name" ] || fs_missing "$fs_name"
	if [ -d "$fs_name" ]; then
		fs_kind=d
	elif [ -f "$fs_name" ]; then
		fs_kind=f
		[ -r "$fs_name" ] || exit $fs_denied
	else
		exit $fs_special
	fi
}

# fs_row sets fs_bits and fs_size of $1.
fs_row() {
	set -f
	set -- $(ls -ldnL -- "$1")
	set +f
	fs_bits=$1 fs_length=$5
}

# fs_cat prints the file.
fs_cat() {
	cat <"$fs_name" && exit 0
	[ -e "$fs_name" ] || fs_missing "$fs_name"
	exit $fs_failed
}

# fs_follow goes from a symbolic link, which may dangle, to where it leads.
fs_follow() {
	fs_hops=0
	while [ -L "$fs_name" ]; do
		fs_hops=$((fs_hops + 1))
		[ $fs_hops -le 40 ] || exit $fs_loop
		fs_link=$(readlink -- "$fs_name" && echo .) || exit $fs_failed
		fs_link=${fs_link%??}
		case $fs_link in
		/*) fs_name=$fs_link ;;
		*) fs_name=${fs_name%/*}/$fs_link ;;
		esac
	done
}

# fs_parent sets fs_dir to the directory that fs_name is in, with a slash.
fs_parent() {
	fs_dir=${fs_name%/*}/
	[ -d "$fs_dir" ] || fs_missing "$fs_name"
}

# fs_locked tells whether fs_dir is on a file system that is mounted read-only.
fs_locked() {
	fs_here=$(cd -P -- "$fs_dir" && pwd -P) || return 1
	fs_best= fs_found=
	while read -r fs_device fs_mount fs_type fs_options fs_rest; do
		case ${fs_here%/}/ in
		"${fs_mount%/}"/*) [ ${#fs_mount} -lt ${#fs_best} ] || fs_best=$fs_mount fs_found=$fs_options ;;
		esac
	done 2>/dev/null </proc/mounts
	case $fs_found in ro | ro,*) return 0 ;; esac
	return 1
}

# fs_broken exits with the reason why something in fs_dir could not be written;
# fs_temp is the name of a file there that may be written and removed.
fs_broken() {
	! fs_locked || exit $fs_readonly
	[ -w "$fs_dir" ] && [ -x "$fs_dir" ] || exit $fs_denied
	fs_code=$fs_failed
	{ printf '%65536s' x >>"$fs_dir$fs_temp"; } 2>/dev/null || fs_code=$fs_full
	rm -f -- "$fs_dir$fs_temp"
	exit $fs_code
}

# fs_target sets fs_file, which will be written first, beside what it replaces.
fs_target() {
	fs_follow
	[ ! -d "$fs_name" ] || exit $fs_isdir
	[ ! -e "$fs_name" ] || [ -f "$fs_name" ] || exit $fs_special
	fs_parent
	fs_file=$fs_dir$fs_temp
}

# fs_fill prints what is to be in the file.
fs_fill() {
	case $fs_form in
	text) printf %s "$fs_text" ;;
	*) cat ;;
	esac
}

# fs_commit gives fs_file its mode, its time and its name, if it is whole.
fs_commit() {
	fs_row "$fs_file"
	if [ "$fs_length" != "$fs_size" ]; then
		rm -f -- "$fs_file"
		exit $fs_short
	fi
	[ -z "$fs_time" ] || TZ=UTC0 touch -m -t "$fs_time" -- "$fs_file"
	chmod "$fs_mode" "$fs_file" && mv -f -- "$fs_file" "$fs_name" || fs_broken
}

# fs_unreadable exits if there is something in directory $1 that cannot be read.
fs_unreadable() {
	for fs_f in "$1"/* "$1"/.[!.]* "$1"/..?*; do
		if [ -L "$fs_f" ]; then
			continue
		elif [ -d "$fs_f" ]; then
			[ -r "$fs_f" ] && [ -x "$fs_f" ] || exit $fs_denied
			fs_unreadable "$fs_f"
		elif [ -f "$fs_f" ] && [ ! -r "$fs_f" ]; then
			exit $fs_denied
		fi
	done
}

# fs_tree enters the directory that is to be copied from.
fs_tree() {
	cd -P -- "$fs_name" 2>/dev/null && [ -r . ] || exit $fs_denied
}

# fs_root enters the directory that is to be copied to, and makes it if need be.
fs_root() {
	fs_follow
	if [ ! -d "$fs_name" ]; then
		[ ! -e "$fs_name" ] || exit $fs_notdir
		fs_parent
		mkdir -- "$fs_name" 2>/dev/null || fs_broken
	fi
	fs_dir=$fs_name/
	cd -P -- "$fs_name" 2>/dev/null || exit $fs_denied
}

case $fs_op in
read)
	fs_find
	[ $fs_kind = f ] || exit $fs_isdir
	fs_row "$fs_name"
	[ "$fs_length" -le "$fs_max" ] || exit $fs_large
	fs_cat
	;;
write)
	fs_target
	trap 'rm -f -- "$fs_file"; exit 143' TERM HUP INT
	(umask 077 && set -C && fs_fill >"$fs_file") || fs_broken
	fs_commit
	;;
# Where a backend has a way of its own to fill fs_file, these are before and
# after that.
begin)
	fs_target
	(umask 077 && set -C && : >"$fs_file") 2>/dev/null || fs_broken
	fs_say "$fs_file"
	;;
commit)
	fs_target
	[ -O "$fs_file" ] || exit $fs_elsewhere
	fs_commit
	;;
abort)
	# The pattern does not match itself.
	for fs_f in $(grep -ls -- "[.]${fs_temp#.}" /proc/[0-9]*/cmdline); do
		fs_f=${fs_f#/proc/}
		[ "${fs_f%/*}" = $$ ] || kill -9 "${fs_f%/*}"
	done 2>/dev/null
	fs_follow
	rm -f -- "${fs_name%/*}/$fs_temp"
	;;
from)
	fs_find
	if [ $fs_kind = f ]; then
		fs_row "$fs_name"
		echo "f $fs_length $fs_bits $(date -r "$fs_name" +%s 2>/dev/null)"
		fs_cat
	fi
	fs_tree
	command -v tar >/dev/null || exit $fs_notar
	echo d
	tar -cf - . && exit 0
	fs_code=$?
	# GNU tar has 1 for what changed or vanished meanwhile.
	case $fs_code/$(tar --version 2>/dev/null) in 1/*GNU*) exit 0 ;; esac
	fs_unreadable .
	exit $fs_failed
	;;
to)
	command -v tar >/dev/null || exit $fs_notar
	fs_root
	tar -xpof - || fs_broken
	;;
place)
	# Where fs_name really is, for a backend that sees the root file system from
	# outside: if this is root, nothing is mounted there, and the name is simple.
	while read -r fs_key fs_real fs_id fs_rest; do
		case $fs_key in
		Uid:) fs_uid=$fs_id ;;
		Gid:) fs_gid=$fs_id ;;
		esac
	done </proc/self/status
	[ "$fs_uid" = 0 ] || exit $fs_elsewhere
	fs_follow
	if [ -d "$fs_name" ]; then
		[ -w "$fs_name" ] || [ $fs_for = from ] || exit $fs_elsewhere
		fs_here=$(cd -P -- "$fs_name" && pwd -P && echo .) || exit $fs_elsewhere
		fs_here=${fs_here%??}
	else
		[ ! -e "$fs_name" ] && [ $fs_for = to ] || exit $fs_elsewhere
		fs_parent
		[ -w "$fs_dir" ] || exit $fs_elsewhere
		fs_here=$(cd -P -- "$fs_dir" && pwd -P && echo .) || exit $fs_elsewhere
		fs_here=${fs_here%??}
		fs_here=${fs_here%/}/${fs_name##*/}
	fi
	case $fs_here in / | *[!A-Za-z0-9_./,:+@=-]* | */. | */..) exit $fs_elsewhere ;; esac
	while read -r fs_id fs_up fs_device fs_root fs_mount fs_rest; do
		[ "$fs_mount" != / ] || continue
		case $fs_here/ in "$fs_mount"/*) exit $fs_elsewhere ;; esac
		case $fs_mount/ in "$fs_here"/*) exit $fs_elsewhere ;; esac
	done </proc/self/mountinfo
	fs_say "$fs_gid $fs_here"
	;;
why)
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
