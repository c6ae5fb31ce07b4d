# What a lane's shell is told before its first command, without these comments
# and after command.sh, which it has in lane_text. It does not return.
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

# lane_elders are the processes that an orphan of a command may become the
# child of: the first of all, and the ancestors of this shell.
lane_elders=' 1 '
lane_x=$PPID
while [ "${lane_x:-0}" -gt 1 ]; do
	lane_elders="$lane_elders$lane_x " lane_dir=/proc/$lane_x lane_x=
	read -r lane_x <"$lane_dir/stat"
	set -- ${lane_x##*) }
	lane_x=$2
done

# lane_stand keeps a standby until it has become a command and that has ended.
# Where it cannot be had it ends at once, and so it does if it is killed: then
# the line it was to read is this shell's, or the next if it had begun with it.
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

# lane_run WORD MODE DIR ID VALUE SCRIPT... runs a command without a standby.
# A subshell and not "&", which would make the command ignore SIGINT. Its pid
# is found by a cd, which is cheaper than to read a line, and stays the same
# when setsid(1) is executed: a subshell of this shell leads no process group.
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

# lane_back makes the next line this shell's.
lane_back() {
	lane_direct=1
}

# lane_snapshot notes which processes there are, and the last pid given out.
lane_snapshot() {
	set -- /proc/[0-9]*
	lane_seen=" $* "
	lane_last=0
	read -r lane_x lane_x lane_x lane_x lane_last </proc/loadavg
}

# lane_look sets lane_left to 2 if processes of the command are left, to 1 if
# there are some that may be. Only those are looked at that were not
# there before, unless pids have been given out anew; and none if the standby
# was the last to get one. The parent, if it can be seen at all, has the other
# ends of the pipes.
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

# lane_lingers tells whether the process in lane_dir is not just about to end,
# as the one from which a shell's here document is read. Whoever waits for what
# survivors write has the time for that.
lane_lingers() {
	lane_tries=0
	while [ "$lane_tries" -lt 50 ]; do
		lane_tries=$((lane_tries + 1))
		lane_lives || return
	done
}

# lane_lives tells whether the process in lane_dir has any memory: a zombie has
# none, nor one that exits. lane_envstart and lane_envend are where its environment
# is, or 0; lane_parent is its parent, or 0.
lane_lives() {
	lane_x=
	read -r lane_x <"$lane_dir/stat"
	set -- ${lane_x##*) }
	lane_envstart=${48:-0} lane_envend=${49:-0} lane_parent=${2:-0}
	[ "${1:-Z}" != Z ] && [ "$1" != X ] && [ "${21:-0}" != 0 ]
}

# lane_foreign tells whether the process in lane_dir descends from one that was
# there before and is not an elder, such as another lane's shell, or came into
# the container from outside, as such a shell does; it has no parent then, and
# may not be looked at meanwhile. To find that out is cheap.
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

# lane_judge looks at the process in lane_dir. It is innocent if it does not
# live, or is foreign. In the middle of an exec there is no environment, nor an
# end of it, or it ends early; so that is waited for, and what is not there must
# be missing twice. What may not be looked at, or holds this lane's pipes, may be
# the command's.
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

# lane_carries tells whether lane_dir's environment has the run id; read skips
# the NUL bytes between variables.
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
