# shellcheck shell=sh
# shellcheck disable=SC1007 # several variables are emptied on one line
# shellcheck disable=SC2016 # another shell expands it
# shellcheck disable=SC2034 # some variables only take a field that is not needed, or are for a later script
# shellcheck disable=SC2086 # numbers, exit codes and lists of words need no quotes
# shellcheck disable=SC3013 # test -nt and -ef are only used where the shell has them

# The loop of a lane's shell, evaluated once after command.sh, whose text is in
# lane_text. It keeps a standby and reports survivors, and does not return.
unset lane_parent lane_elders lane_before lane_code lane_envend lane_envstart lane_was lane_direct lane_left lane_pid lane_session lane_seen lane_last lane_after lane_x
cd /

lane_shell=$1
if [ -z "$lane_shell" ]; then
	lane_shell=$(command -v bash || command -v sh || echo sh)
else
	lane_shell=$(command -v "$lane_shell" || echo "$lane_shell")
fi
lane_sh=$(command -v sh || echo sh)
lane_setsid=$(command -v setsid)
lane_env1=$(command -v env || echo env)

# lane_elders are the processes that may adopt an orphan of a command: pid 1 and
# this shell's ancestors, which may be subreapers (PR_SET_CHILD_SUBREAPER).
lane_elders=' 1 '
lane_x=$PPID
while [ "${lane_x:-0}" -gt 1 ]; do
	lane_elders="$lane_elders$lane_x " lane_dir=/proc/$lane_x lane_x=
	read -r lane_x <"$lane_dir/stat"
	set -- ${lane_x##*) }
	lane_x=$2
done

# lane_stand starts a standby and waits until the command it became has ended. It
# returns at once if there is no setsid(1). If the standby is killed, this shell
# reads its line, or the next one if the standby had read a part of it.
lane_stand() {
	lane_snapshot
	if [ -z "$lane_setsid" ] || [ -n "$lane_direct" ]; then
		return
	fi
	(
		export lane_text lane_tag lane_def lane_shell lane_env1 lane_lc lane_locale
		exec "$lane_setsid" "$lane_sh" -c 'eval "$lane_text";lane_wait'
	)
	lane_code=$?
}

# lane_run WORD MODE DIR ID VALUE SCRIPT... runs a command without a standby, in
# a subshell: "&" would make the command ignore SIGINT (POSIX, 2.12). cd gets the
# pid more cheaply than read. setsid(1) keeps the pid, because it forks only
# if it leads a process group, which a subshell does not.
lane_run() {
	(
		lane_session=$lane_setsid lane_pid=0
		if [ -n "$lane_setsid" ] && cd -P /proc/self; then
			lane_pid=${PWD#/proc/}
		fi
		lane_enter "$@"
	)
	lane_code=$?
	lane_end "$1" "$2" "$4"
	case $2 in *i*) exit 0 ;; esac
}

# lane_end WORD MODE ID reports the end of a command, once.
lane_end() {
	[ -n "$lane_code" ] || return
	lane_id=$3
	lane_left=0
	case $2 in *d*) ;; *) lane_look ;; esac
	printf '\036%se%s %s\n' "$1" "$lane_code" "$lane_left" >&3
	case $2 in *m*) ;; *) printf '\036%s\n' "$1" >&4 ;; esac
	lane_code=
}

# lane_back makes this shell run the next line itself.
lane_back() {
	lane_direct=1
}

# lane_snapshot records the processes and the last pid (field 5 of /proc/loadavg).
lane_snapshot() {
	set -- /proc/[0-9]*
	lane_seen=" $* "
	lane_last=0
	read -r lane_x lane_x lane_x lane_x lane_last </proc/loadavg
}

# lane_look sets lane_left to 2 if processes of the command are left, to 1 if some
# may be. It checks only processes that are not in the snapshot, or all of them if
# pids have wrapped around, and none if the standby got the last pid. It skips the
# parent, which may hold the other ends of the pipes.
lane_look() {
	lane_after=0
	read -r lane_x lane_x lane_x lane_x lane_after </proc/loadavg
	[ "$lane_after" -ne $((lane_last + 1)) ] || return 0
	[ "$lane_after" -ge "$lane_last" ] || lane_seen=" /proc/$$ /proc/$PPID "
	for lane_dir in /proc/[0-9]*; do
		case $lane_seen in *" $lane_dir "*) continue ;; esac
		lane_was=$lane_left
		lane_judge
		[ "$lane_left" = 0 ] || lane_lingers || lane_left=$lane_was
		[ "$lane_left" != 2 ] || return
	done
}

# lane_lingers reports whether the process in lane_dir stays alive for 50 checks;
# the writer of a shell's here-document, for one, is about to exit.
lane_lingers() {
	lane_tries=0
	while [ "$lane_tries" -lt 50 ]; do
		lane_tries=$((lane_tries + 1))
		lane_lives || return
	done
}

# lane_lives reports whether the process in lane_dir has memory; a zombie or an
# exiting one has none. It sets lane_envstart, lane_envend and lane_parent to
# env_start, env_end and ppid of proc_pid_stat(5), or 0.
lane_lives() {
	lane_x=
	read -r lane_x <"$lane_dir/stat"
	set -- ${lane_x##*) }
	lane_envstart=${48:-0} lane_envend=${49:-0} lane_parent=${2:-0}
	[ "${1:-Z}" != Z ] && [ "$1" != X ] && [ "${21:-0}" != 0 ]
}

# lane_foreign reports whether the process in lane_dir is not the command's: it
# descends from a process in the snapshot that is not an elder, such as another
# lane's shell, or it entered the container by an exec and has no parent here.
lane_foreign() {
	while [ "$lane_parent" != 0 ]; do
		case $lane_elders in *" $lane_parent "*) return 1 ;; esac
		case $lane_seen in *" /proc/$lane_parent "*) return ;; esac
		lane_x=
		read -r lane_x <"/proc/$lane_parent/stat"
		set -- ${lane_x##*) }
		lane_parent=$2
		[ -n "$lane_parent" ] || return 1
	done
}

# lane_judge sets lane_left for the process in lane_dir and leaves it alone if the
# process is dead or foreign. During execve(2) the environment may be missing or
# cut short, so it is read until two reads agree. A process that is unreadable or
# holds the lane's pipes may be the command's.
lane_judge() {
	lane_tries=0 lane_environ=
	while [ "$lane_tries" -lt 2000 ]; do
		lane_tries=$((lane_tries + 1))
		lane_lives || return
		lane_foreign && return
		lane_before=$lane_environ
		lane_carries && lane_left=2 && return
		if [ -n "$lane_environ" ]; then
			[ "$lane_environ" != "$lane_before" ] || break
		elif [ "$lane_tries" -gt 3 ]; then
			[ -e "$lane_dir/root" ] || { lane_left=1; return; }
			[ "$lane_envend" = 0 ] || [ "$lane_envend" != "$lane_envstart" ] || break
		fi
	done
	for lane_x in "$lane_dir"/fd/*; do
		if [ "$lane_x" -ef /proc/$$/fd/3 ] || [ "$lane_x" -ef /proc/$$/fd/4 ]; then
			lane_left=1
			return
		fi
	done
}

# lane_carries reports whether the environment of lane_dir has the run ID. The
# shell's read skips the NUL bytes between variables.
lane_carries() {
	lane_environ= lane_l=
	[ -r "$lane_dir/environ" ] || return
	while IFS= read -r lane_l || [ -n "$lane_l" ]; do
		lane_environ=$lane_environ$lane_l
		case $lane_l in *TERMINAL_RUN_ID=*"$lane_id"*) return 0 ;; esac
		lane_l=
	done <"$lane_dir/environ"
	return 1
}

while :; do
	lane_stand
	lane_more
done
