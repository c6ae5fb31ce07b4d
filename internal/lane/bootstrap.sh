# What a lane's shell is told before its first command: functions, and what
# can be known once and for all. It is sent as one line, without these
# comments. All names begin with lane_, which no command gets to see; Go sends
# variables of such a name, and those that mean something to a shell, through
# env(1). 3 and 4 are the stream's stdout and stderr; the shell's own are
# /dev/null, which hides what it says about killed children.
set +aeux
unset lane_word lane_code lane_left lane_pid lane_id lane_value lane_dir lane_mode lane_up lane_lc lane_x
cd /

# The shell works on bytes, the command gets the locale that was meant for it.
lane_locale='unset LC_ALL'
[ -z "${LC_ALL+set}" ] || lane_locale="export LC_ALL=\"\$lane_lc\"" lane_lc=$LC_ALL
unset LC_ALL
LC_ALL=C

lane_shell=$1
if [ -z "$lane_shell" ]; then
	lane_shell=$(command -v bash || command -v sh || echo sh)
else
	lane_shell=$(command -v "$lane_shell" || echo "$lane_shell")
fi
lane_setsid=$(command -v setsid)
lane_env1=$(command -v env || echo env)

# A long script comes in pieces, because Linux takes no more than 128 KiB for
# one argument. The command sees neither them nor the variable they went into.
lane_join='IFS=;lane_script="$*";IFS=" 	
";set --;eval "unset lane_script
$lane_script"'

# lane_run WORD MODE DIR ID VALUE SCRIPT...
# Runs one command. In MODE, m: stderr is stdout; i: stdin is the rest of the
# lane's. ID is what survivors are searched by, VALUE what TERMINAL_RUN_ID is
# to be if it is more than that. A subshell and not "&", which would make the
# command ignore SIGINT.
lane_run() {
	lane_word=$1 lane_mode=$2 lane_dir=$3 lane_id=$4 lane_value=${5:-$4}
	shift 5
	lane_last lane_before
	lane_clock lane_since
	(lane_enter "$@")
	lane_code=$?
	lane_look
	printf '\036%se%s %s\n' "$lane_word" "$lane_code" "$lane_left" >&3
	case $lane_mode in *m*) ;; *) printf '\036%s\n' "$lane_word" >&4 ;; esac
	case $lane_mode in *i*) exit ;; esac
}

# lane_enter becomes the command. Its pid is found by a cd, which is cheaper
# than to read a line, and stays the same when setsid(1) is executed: a
# subshell of this shell leads no process group.
lane_enter() {
	lane_pid=0
	if [ -n "$lane_setsid" ] && cd -P /proc/self; then
		lane_pid=${PWD#/proc/}
	fi
	cd -P "$lane_dir" || lane_refuse
	unset OLDPWD
	export "PWD=$lane_dir" "TERMINAL_RUN_ID=$lane_value"
	lane_env
	printf '\036%ss%s\n' "$lane_word" "$lane_pid" >&3
	case $lane_mode in *i*) ;; *) exec </dev/null ;; esac
	case $lane_mode in *m*) exec >&3 2>&3 3>&- 4>&- ;; *) exec >&3 2>&4 3>&- 4>&- ;; esac
	if [ $# -eq 1 ]; then
		lane_exec ${lane_setsid:+"$lane_setsid"} "$lane_shell" -c -- "$1"
	else
		lane_exec ${lane_setsid:+"$lane_setsid"} "$lane_shell" -c -- "$lane_join" "$lane_shell" "$@"
	fi
}

# lane_refuse says why the directory cannot be entered: the nearest parent
# that there is, is no directory, may not be searched, or does not have it.
lane_refuse() {
	lane_x=$lane_dir
	while [ -n "$lane_x" ] && ! [ -e "$lane_x" ]; do
		lane_x=${lane_x%/*}
	done
	lane_x=${lane_x:-/}
	if ! [ -d "$lane_x" ]; then
		lane_left=d
	elif [ -x "$lane_x" ] && [ "$lane_x" != "$lane_dir" ]; then
		lane_left=e
	else
		lane_left=p
	fi
	printf '\036%sn%s\n' "$lane_word" "$lane_left" >&3
	exit 0
}

# lane_last sets the variable to the pid given out last, lane_clock to the
# seconds since boot; to nothing where there is no /proc.
lane_last() {
	lane_x=
	read -r lane_x lane_x lane_x lane_x lane_x </proc/loadavg
	eval "$1=\$lane_x"
}
lane_clock() {
	lane_x=
	read -r lane_x </proc/uptime
	eval "$1=\${lane_x%%.*}"
}

# lane_look sets lane_left to 2 if processes of the command are left, to 1 if
# there are some that may be, else to 0. Most commands gave out a few pids
# which are all gone again, and that costs no more than looking for those. The
# range between the last pids says nothing if it may have wrapped around.
lane_look() {
	lane_left=0
	[ -n "$lane_since" ] || return
	lane_last lane_after
	lane_clock lane_up
	lane_pid=${lane_before:-0}
	if [ "${lane_after:-0}" -gt "$lane_pid" ] && [ $((lane_up - lane_since)) -le 1 ] && [ $((lane_after - lane_pid)) -le 100 ]; then
		while [ "$lane_left" != 2 ] && [ "$lane_pid" -lt "$lane_after" ]; do
			lane_pid=$((lane_pid + 1))
			[ ! -d "/proc/$lane_pid" ] || lane_judge
		done
		return
	fi
	for lane_x in /proc/[0-9]*; do
		lane_pid=${lane_x#/proc/}
		[ "$lane_pid" = $$ ] || lane_judge
		[ "$lane_left" != 2 ] || return
	done
}

# lane_judge looks at the process lane_pid. It is innocent if it is a zombie,
# a thread of the kernel, or older than the command. In the middle of an exec
# there is no environment, or it ends early, so what is not there must be
# missing twice. What has no environment, or one that may not be read, or
# holds this lane's pipes, may be the command's.
lane_judge() {
	lane_stat=
	read -r lane_stat <"/proc/$lane_pid/stat"
	set -- ${lane_stat##*) }
	[ $# -ge 20 ] || return
	[ "$1" != Z ] && [ "$1" != X ] && [ $(($7 & 2097152)) -eq 0 ] && [ $((${20} / 100)) -ge "$lane_since" ] || return
	lane_carries && { lane_left=2; return; }
	lane_x=$lane_environ
	lane_carries && { lane_left=2; return; }
	if [ -z "$lane_environ" ] || [ "$lane_x" != "$lane_environ" ]; then
		lane_carries && { lane_left=2; return; }
	fi
	[ -d "/proc/$lane_pid" ] || return
	[ -n "$lane_environ" ] || { lane_left=1; return; }
	for lane_x in "/proc/$lane_pid/fd/"*; do
		if [ "$lane_x" -ef /proc/$$/fd/3 ] || [ "$lane_x" -ef /proc/$$/fd/4 ]; then
			lane_left=1
			return
		fi
	done
}
lane_carries() {
	lane_environ=
	lane_line=
	[ -r "/proc/$lane_pid/environ" ] || return
	while IFS= read -r lane_line || [ -n "$lane_line" ]; do
		lane_environ=$lane_environ$lane_line
		case $lane_line in *TERMINAL_RUN_ID=*"$lane_id"*) return 0 ;; esac
		lane_line=
	done <"/proc/$lane_pid/environ"
	return 1
}
