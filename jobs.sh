# What a Terminal does with the jobs of a task. A call sets variables, among
# them the exit codes that it tells apart, and has of these functions the one
# that it calls and those that are named in it. All names begin with tj_.

tj_exit() {
	tj_status=$1
	shift
	echo "$*" >&2
	exit "$tj_status"
}

# tj_ours tells whether the directory of all jobs is there and nobody else's.
tj_ours() { [ -d "$tj_base" ] && [ ! -L "$tj_base" ] && [ -O "$tj_base" ]; }

# tj_find refuses an id that is not a job's.
tj_find() {
	tj_dir=$tj_base/$tj_id
	tj_ours && [ -s "$tj_dir/meta" ] || tj_exit $tj_unknown "no such job"
	read -r tj_started tj_length tj_run <"$tj_dir/meta"
}

# tj_get reads a file's first line into a variable, "" if there is none.
tj_get() {
	eval "$1="
	[ ! -s "$2" ] || read -r "$1" <"$2"
}

# tj_carries tells whether process $1 has $2 in its TERMINAL_RUN_ID, and sets
# tj_line to the line with that; 2 says that it has gone, or may not be looked
# into. read skips the NUL bytes between variables.
#
# In the middle of an exec there is no environment, and one that is being read
# ends early. So only what was there before and after a look counts: stat tells
# where the environment is, which is another place after an exec. If it ends
# where it starts it is empty. Where stat does not even tell that of this shell,
# what is read must be the same twice. What has no memory is a zombie, or the
# kernel's.
tj_carries() {
	tj_looks=0 tj_place= tj_environ=
	while [ $tj_looks -lt 30 ]; do
		{ read -r tj_line <"/proc/$1/stat"; } 2>/dev/null || return 2
		set -- "$1" "$2" ${tj_line##*) }
		[ "${23:-0}" != 0 ] && [ "$tj_place" != "${50:-0} ${51:-0}" ] || return 1
		tj_before=$tj_environ tj_environ= tj_place=
		{ while IFS= read -r tj_line || [ -n "$tj_line" ]; do
			case $tj_line in *TERMINAL_RUN_ID=*"$2"*) return 0 ;; esac
			tj_environ=$tj_environ.$tj_line
		done <"/proc/$1/environ"; } 2>/dev/null || return 2
		if [ "${50:-0}" = 0 ]; then
			read -r tj_line </proc/self/stat
			set -- "$1" "$2" ${tj_line##*) }
			[ "${50:-0}" != 0 ] || [ -z "$tj_environ" ] || [ "$tj_environ" != "$tj_before" ] || return 1
		elif [ -n "$tj_environ" ] || [ "${50}" = "${51}" ]; then
			tj_place="${50} ${51}"
		fi
		tj_looks=$((tj_looks + 1))
		[ $tj_looks -lt 10 ] || sleep 0.01 2>/dev/null
	done
	return 1
}

# tj_each sets tj_pids to the processes that carry the run id.
tj_each() {
	tj_pids=
	[ -n "$tj_run" ] || return
	for tj_p in /proc/[0-9]*; do
		! tj_carries "${tj_p#/proc/}" "$tj_run" || tj_pids="$tj_pids ${tj_p#/proc/}"
	done
}

# tj_alive tells whether the job has a process. Its supervisor is looked at
# first, and nothing is taken for dead at first sight: in the middle of an exec
# a process shows no environment.
tj_alive() {
	tj_get tj_pid "$tj_dir/pid"
	[ -n "$tj_pid" ] || ! tj_young || return 0
	if [ ! -d /proc/self ]; then
		[ -z "$tj_pid" ] || kill -0 "$tj_pid" 2>/dev/null
		return
	fi
	for tj_pass in 1 2 3; do
		[ -z "$tj_pid" ] || ! tj_carries "$tj_pid" "$tj_run" || return 0
		tj_each
		[ -z "$tj_pids" ] || return 0
		sleep 0.01 2>/dev/null
	done
	return 1
}

# tj_young tells whether the supervisor may be still about to start. Only the
# Terminal's clock and the time that passes count, as the clock here may be wrong.
tj_young() {
	[ ! -e "$tj_dir/since" ] || return
	tj_now=$(date +%s)
	tj_asked=${tj_asked:-$tj_now}
	[ $((tj_clock - ${tj_started%?????????} + tj_now - tj_asked)) -lt 30 ]
}

# tj_settle notes the end of a job that nobody was there to note.
tj_settle() {
	[ ! -s "$tj_dir/exit" ] || return 0
	tj_alive && return
	[ ! -s "$tj_dir/exit" ] || return 0
	tj_now=$(date +%s)
	tj_get tj_since "$tj_dir/since"
	tj_get tj_code "$tj_dir/code" # of one whose supervisor was killed just then
	echo "${tj_code:-${1:--1}} ${tj_since:-$tj_now} $tj_now" >"$tj_dir/exit"
}

# tj_drop removes jobs that have been finished for $tj_kept seconds by the
# Terminal's clock, and finds the number of the others and the oldest finished.
tj_drop() {
	tj_all=0 tj_old= tj_least=
	for tj_dir in "$tj_base"/*/; do
		tj_dir=${tj_dir%/}
		[ ! -e "$tj_dir/gone" ] || rm -rf "$tj_dir"
		[ -s "$tj_dir/meta" ] || continue
		tj_all=$((tj_all + 1))
		tj_get tj_exit "$tj_dir/exit"
		[ -n "$tj_exit" ] || continue
		read -r tj_started tj_length tj_run <"$tj_dir/meta"
		tj_started=${tj_started%?????????}
		set -- $tj_exit
		if [ $((tj_clock - tj_started - ${3%%.*} + ${2%%.*})) -ge "$tj_kept" ]; then
			rm -rf "$tj_dir"
			tj_all=$((tj_all - 1))
		elif [ -z "$tj_least" ] || [ "$tj_started" -lt "$tj_least" ]; then
			tj_least=$tj_started tj_old=$tj_dir
		fi
	done
}

# tj_room sees to it that there are less than $tj_most jobs: the oldest finished
# go, and one that runs never does.
tj_room() {
	tj_drop
	while [ "$tj_all" -ge "$tj_most" ]; do
		if [ -z "$tj_old" ]; then
			for tj_dir in "$tj_base"/*/; do
				tj_dir=${tj_dir%/}
				[ -s "$tj_dir/meta" ] || continue
				read -r tj_started tj_length tj_run <"$tj_dir/meta"
				tj_settle
			done
			tj_drop
			[ -n "$tj_old" ] || return 1
		fi
		rm -rf "$tj_old"
		tj_all=$((tj_all - 1)) tj_old=
		[ "$tj_all" -lt "$tj_most" ] || tj_drop
	done
}

# tj_house makes the directory of all jobs, where the executor has not done so.
tj_house() {
	[ -d "$tj_base" ] || mkdir -m 700 "$tj_base" 2>/dev/null || [ -d "$tj_base" ] ||
		tj_exit $tj_failed "$(mkdir -m 700 "$tj_base" 2>&1)"
	tj_ours || tj_exit $tj_failed "$tj_base is not a directory of this user"
}

# tj_begin starts a job by the texts that an earlier one has left in the
# environment. To send them each time would take longer than all the rest,
# because a shell reads what it is sent byte by byte.
tj_begin() {
	tj_ours && [ -s "$tj_base/$tj_texts.start" ] && [ -s "$tj_base/$tj_texts.supervisor" ] ||
		tj_exit $tj_absent "the texts are not there"
	. "$tj_base/$tj_texts.start"
}

# tj_install leaves the texts in the environment and starts a job by them.
tj_install() {
	tj_house
	if ! tj_place "$tj_supervisor" supervisor || ! tj_place "$tj_starter" start; then
		rm -f "$tj_base/.$tj_id"
		tj_exit $tj_failed "cannot write to $tj_base: is the disk full?"
	fi
	. "$tj_base/$tj_texts.start"
}

# tj_place makes the file appear as a whole.
tj_place() {
	{ printf %s "$1" >"$tj_base/.$tj_id" && mv -f "$tj_base/.$tj_id" "$tj_base/$tj_texts.$2"; } 2>/dev/null
}

# tj_make makes a new job.
tj_make() {
	tj_house
	tj_dir=$tj_base/$tj_id
	[ -d "$tj_dir" ] || tj_enlarge
	tj_put "$tj_command" command && tj_put "" log && tj_put "$tj_meta" meta ||
		tj_undo $tj_failed "cannot write to $tj_dir: is the disk full?"
}

# tj_enlarge makes the directory of a new job, and those of later ones as far as
# there is room: mkdir(1) takes longer to start than a job does. What makes room
# comes as a text, to spare the shell from parsing it each time, and uses the
# same variables, so it gets a shell of its own.
tj_enlarge() {
	set -- "$tj_base"/*/
	tj_left=$((tj_most - $#))
	[ $tj_left -gt 0 ] || tj_yield || (eval "$tj_clear") || tj_exit $tj_full "$tj_most jobs are running"
	set -- "$tj_dir"
	for tj_x in $tj_spares; do
		[ $# -ge $tj_left ] || set -- "$@" "$tj_base/$tj_x"
	done
	tj_text=$(mkdir -m 700 "$@" 2>&1) || [ -d "$tj_dir" ] || tj_exit $tj_failed "$tj_text"
}

# tj_yield lets the first finished job of $tj_oldest go that no other start has
# taken, and leaves its directory to the supervisor of the new one. It prints which
# of them are no more. Starts that saw the same room may have made too many jobs,
# which has to be put right otherwise.
tj_yield() {
	[ $tj_left -gt -8 ] || return
	for tj_x in $tj_oldest; do
		if [ ! -s "$tj_base/$tj_x/meta" ]; then
			echo "$tj_x"
		elif [ -s "$tj_base/$tj_x/exit" ] && tj_take "$tj_base/$tj_x"; then
			echo "$tj_x"
			tj_rubbish=$tj_base/$tj_x
			return 0
		fi
	done
	return 1
}

# tj_take makes a job none, once.
tj_take() {
	set -C
	{ echo >"$1/gone"; } 2>/dev/null
	tj_y=$?
	set +C
	[ $tj_y = 0 ] && printf '' >"$1/meta"
}

tj_put() { { printf %s "$1" >"$tj_dir/$2"; } 2>/dev/null; }

tj_undo() {
	rm -rf "$tj_base/$tj_id"
	tj_exit "$@"
}

# tj_start starts a job. A shell makes a command that it does not wait for
# ignore SIGINT, and such a command does not carry the job's run id before it
# has become another program. So the forking is left to setsid, which does that,
# and does not wait, if it leads a process group; what the first of two starts
# leads one. Where there is no setsid the job ignores SIGINT.
tj_start() {
	tj_make
	tj_put "$tj_script" script || tj_undo $tj_failed "cannot write to $tj_dir: is the disk full?"
	if [ "$tj_input" = stdin ]; then
		cat >"$tj_dir/stdin" && tj_put "" closed || tj_undo $tj_failed "cannot write to $tj_dir: is the disk full?"
	fi
	case ${BASH:-$0} in
	*/bash | */dash | */ash | */ksh | */mksh | */zsh | */sh) tj_shell=${BASH:-$0} ;;
	*) tj_shell=$(command -v bash || command -v sh || echo sh) ;;
	esac
	case $TERMINAL_RUN_ID in
	*,*) tj_run=${TERMINAL_RUN_ID%,*},$tj_run ;;
	esac
	export "TERMINAL_RUN_ID=$tj_run"
	set -- sh "$tj_base/$tj_texts.supervisor" "$tj_dir" "$tj_shell" "$tj_form" "$tj_count" "$tj_input" "$tj_limit" "$tj_rubbish"
	exec </dev/null >/dev/null 2>&1 # here, so that no fork holds what the caller waits for
	if ! command -v setsid; then
		(
			trap '' HUP
			exec "$@"
		) &
	elif tj_leads; then
		exec setsid "$@"
	else
		setsid setsid "$@"
	fi
}

# tj_leads tells whether this shell leads its process group.
tj_leads() {
	[ -r "/proc/$$/stat" ] && read -r tj_x <"/proc/$$/stat" || return
	set -- ${tj_x##*) }
	[ "$3" = "$$" ]
}

# tj_listening tells whether something listens on the port: by the kernel's
# list, because a connection is something a server may notice; 0A is LISTEN.
tj_listening() {
	if [ -r /proc/net/tcp ]; then
		for tj_file in /proc/net/tcp /proc/net/tcp6; do
			[ -r "$tj_file" ] || continue
			while read -r tj_x tj_local tj_x tj_state tj_x; do
				[ "$tj_state" != 0A ] || [ "${tj_local##*:}" != "$tj_hex" ] || return 0
			done <"$tj_file"
		done
		return 1
	fi
	if [ -n "$BASH_VERSION" ]; then
		(: <"/dev/tcp/127.0.0.1/$tj_port") 2>/dev/null
	else
		nc -z 127.0.0.1 "$tj_port" 2>/dev/null
	fi
}

# tj_free refuses a port on which something listens.
tj_free() { ! tj_listening || tj_exit $tj_taken "something listens on port $tj_port already"; }

# tj_follow watches the job until it has ended, or the port answers, or
# $tj_rounds naps are over. The verdict goes to stderr, and the log to stdout as
# it grows, if it is to be shown.
tj_follow() {
	tj_find
	tj_at=-1
	[ -z "$tj_show" ] || tj_open
	tj_until=
	! tj_tick || tj_until=$((tj_up + tj_rounds * 5))
	while :; do
		tj_get tj_exit "$tj_dir/exit"
		if [ -n "$tj_show" ]; then
			cat <&3
			tj_last
			if [ "${tj_newest:--1}" -ge "$tj_at" ]; then # what fd 3 reads grows no more
				cat <&3
				tj_open
				continue
			fi
		fi
		[ -z "$tj_exit" ] || tj_exit 0 "exited $tj_exit"
		[ "$tj_port" = 0 ] || ! tj_listening || tj_exit 0 ready
		[ "$tj_rounds" -gt 0 ] && { [ -z "$tj_until" ] || tj_tick && [ "$tj_up" -lt "$tj_until" ]; } || tj_exit 0 late
		tj_rounds=$((tj_rounds - 1))
		sleep 0.05 2>/dev/null || { sleep 1; tj_rounds=$((tj_rounds - 19)); }
	done
}

# tj_tick sets tj_up to the kernel's clock, in hundredths of a second. A nap is
# always longer than it should be, and many of them by too much.
tj_tick() {
	[ -r /proc/uptime ] && read -r tj_up tj_x </proc/uptime && tj_up=$((${tj_up%.*} * 100 + 1${tj_up#*.} - 100))
}

# tj_open opens the part of the log that follows the one that begins at byte
# $tj_at, which the log may have left behind by several parts, and sets $tj_at to
# where the new one begins. The newest is named log until there is a newer one,
# so it is opened between two looks at the names of the others. Without command,
# an exec that fails would end the shell.
tj_open() {
	while [ -d "$tj_dir" ]; do
		tj_last
		for tj_x in $tj_parts; do
			[ "$tj_x" -le "$tj_at" ] || break
			tj_x=
		done
		if [ -n "$tj_parts" ] && [ -n "$tj_x" ]; then
			command exec 3<"$tj_dir/log.$tj_x" || continue
			tj_at=$tj_x
			return
		fi
		tj_seen=$tj_newest
		tj_tail || continue
		command exec 3<"$tj_dir/log" || tj_mend || continue
		tj_last
		[ "$tj_newest" = "$tj_seen" ] || continue
		tj_at=$tj_end
		return
	done 2>/dev/null
	tj_exit $tj_unknown "no such job"
}

# tj_tail sets $tj_end to the byte where the newest part of the log begins. It
# fails if the part before that has gone meanwhile.
tj_tail() {
	tj_end=0
	[ -n "$tj_newest" ] || return 0
	tj_end=$(wc -c 2>/dev/null <"$tj_dir/log.$tj_newest") && tj_end=$((tj_newest + tj_end))
}

# tj_measure sets $tj_size to the end of the log. It fails if the job is gone.
tj_measure() {
	while [ -d "$tj_dir" ]; do
		tj_last
		tj_seen=$tj_newest
		tj_tail && { tj_size=$(wc -c 2>/dev/null <"$tj_dir/log") || tj_mend; } || continue
		tj_last
		[ "$tj_newest" = "$tj_seen" ] || continue
		tj_size=$((tj_end + tj_size))
		return
	done
	return 1
}

# tj_mend fails, and after a while makes a log that is not there: it is missing
# for a moment where a part of it gets a name of its own, and else for ever, if
# somebody has removed it.
tj_mend() {
	[ ! -e "$tj_dir/log" ] || return
	tj_misses=$((${tj_misses:-0} + 1))
	if [ "$tj_misses" -gt 20 ] && [ -s "$tj_dir/meta" ]; then
		printf '' >>"$tj_dir/log"
	else
		sleep 0.01 2>/dev/null || sleep 1
	fi
	return 1
}

# tj_last finds the older parts of the log: tj_parts, the first byte of each in
# rising order, and the newest of them.
tj_last() {
	tj_parts= tj_newest=
	set --
	for tj_x in "$tj_dir"/log.[0-9]*; do
		[ -e "$tj_x" ] || continue
		tj_x=${tj_x##*.}
		for tj_y; do
			shift
			if [ -n "$tj_x" ] && [ "$tj_x" -lt "$tj_y" ]; then
				set -- "$@" "$tj_x"
				tj_x=
			fi
			set -- "$@" "$tj_y"
		done
		[ -z "$tj_x" ] || set -- "$@" "$tj_x"
	done
	tj_parts=$*
	for tj_newest; do :; done
}

# tj_log writes a line with the first byte that is kept, the end, the byte where
# the data begin, and ended=CODE if the job has ended; then the data: up to $tj_max
# bytes from $tj_offset on, or from there before the end if it is negative. The
# files are opened between two looks at their names, so that no part can be taken
# for another. The exit code is read before the data, so that a log with a code is
# read to its end.
tj_log() {
	tj_find
	tj_settle
	while [ -d "$tj_dir" ]; do
		tj_last
		tj_seen=$tj_parts
		set -- $tj_parts
		exec 3</dev/null 4</dev/null 5</dev/null
		{
			[ $# -lt 1 ] || command exec 3<"$tj_dir/log.$1" || continue
			[ $# -lt 2 ] || command exec 4<"$tj_dir/log.$2" || continue
			[ $# -lt 3 ] || command exec 5<"$tj_dir/log.$3" || continue
			command exec 6<"$tj_dir/log" 7<"$tj_dir/log" || tj_mend || continue
		} 2>/dev/null
		tj_tail || continue
		tj_last
		[ "$tj_parts" != "$tj_seen" ] || break
	done
	tj_begins="$tj_parts $tj_end"
	tj_end=$((tj_end + $(wc -c <&7)))
	set -- $tj_begins
	tj_first=$1
	[ "$tj_offset" -ge 0 ] || tj_offset=$((tj_end + tj_offset))
	[ "$tj_offset" -ge "$tj_first" ] || tj_offset=$tj_first
	tj_full=
	[ ! -e "$tj_dir/full" ] || tj_full=full
	tj_get tj_exit "$tj_dir/exit"
	echo "$tj_first $tj_end $tj_offset ${tj_exit:+ended=${tj_exit%% *}} $tj_full"
	[ "$tj_offset" -lt "$tj_end" ] || return 0
	{
		tj_fd=3
		while [ $# -gt 0 ]; do
			[ $# -gt 1 ] || tj_fd=6
			if [ $# -eq 1 ] || [ "$2" -gt "$tj_offset" ]; then
				tj_skip=0
				[ "$1" -ge "$tj_offset" ] || tj_skip=$((tj_offset - $1))
				tail -c "+$((tj_skip + 1))" <&"$tj_fd"
			fi
			tj_fd=$((tj_fd + 1))
			shift
		done
	} 2>/dev/null | head -c "$tj_max"
}

# tj_report writes what is known of $tj_id, or of all jobs: a line about each,
# and their commands one after the other.
tj_report() {
	tj_again=0
	until tj_collect "$@"; do
		tj_again=$((tj_again + 1))
		[ $tj_again -lt 20 ] || return 1
	done
	printf '%s\n%s' "$tj_lines" "${tj_text%.}"
}

# tj_collect fails if a job was dropped meanwhile: where environments share a
# /tmp others may be at it too.
tj_collect() {
	tj_lines= tj_text=.
	if [ -n "$tj_id" ]; then
		tj_find
		set -- "$tj_dir"
	else
		tj_ours || return 0
		tj_drop
		set -- "$tj_base"/*/
	fi
	for tj_dir; do
		shift
		tj_dir=${tj_dir%/}
		[ -s "$tj_dir/meta" ] || continue
		read -r tj_started tj_length tj_run <"$tj_dir/meta" || return
		tj_settle
		tj_get tj_exit "$tj_dir/exit"
		tj_measure || return
		tj_lines="$tj_lines${tj_dir##*/} $tj_started $tj_length $tj_size $tj_exit
"
		set -- "$@" "$tj_dir/command"
	done
	[ $# -eq 0 ] || tj_text=$(cat "$@" 2>/dev/null && echo .)
}

# tj_wait returns when the job has ended. Of the FIFO that the supervisor holds
# open it gets a reading end in a way that cannot block, and then waits for
# the end of file. Where the supervisor is still to make it, or there is none, it
# has to look.
tj_wait() {
	tj_find
	tj_nap=0.05
	[ -e "$tj_dir/since" ] || tj_nap=0.005
	while :; do
		tj_settle
		tj_get tj_exit "$tj_dir/exit"
		[ -z "$tj_exit" ] || break
		if [ -p "$tj_dir/alive" ]; then
			exec 6<>"$tj_dir/alive" 7<"$tj_dir/alive" 6>&-
			read -r tj_x <&7
			[ -s "$tj_dir/exit" ] || sleep "$tj_nap" 2>/dev/null
		else
			sleep "$tj_nap" 2>/dev/null || sleep 1
		fi
	done
	echo "$tj_exit"
}

# tj_running refuses what only a running job can do.
tj_running() {
	tj_find
	[ ! -e "$tj_dir/code" ] && [ ! -s "$tj_dir/exit" ] || tj_exit $tj_ended "job has ended"
}

# tj_await waits until the supervisor, which may just have been started, has
# written a file.
tj_await() {
	tj_n=0
	while [ ! -s "$tj_dir/$1" ]; do
		tj_n=$((tj_n + 1))
		[ $tj_n -lt 100 ] && [ ! -s "$tj_dir/exit" ] || tj_exit $tj_ended "job has ended"
		sleep 0.02 2>/dev/null || sleep 1
	done
}

# tj_write gets a writing end of the FIFO in a way that cannot block. It breaks
# when neither the job nor the keeper reads any more.
tj_write() {
	tj_running
	[ ! -e "$tj_dir/closed" ] && [ -e "$tj_dir/command" ] || tj_exit $tj_closed "standard input of the job is closed"
	tj_await keeper
	exec 6<>"$tj_dir/in" 7>"$tj_dir/in" 6>&-
	cat >&7 2>/dev/null || tj_exit $tj_ended "job has ended"
}

tj_close() {
	tj_find
	[ ! -e "$tj_dir/closed" ] && [ ! -e "$tj_dir/code" ] && [ ! -s "$tj_dir/exit" ] || return 0
	tj_await kept
	tj_await keeper
	read -r tj_pid <"$tj_dir/keeper"
	echo >"$tj_dir/closed"
	[ -d /proc/self ] && ! tj_carries "$tj_pid" "$tj_run" || kill -USR1 "$tj_pid"
}

# tj_signal reaches the job's group, or each process of one that has none.
tj_signal() {
	tj_running
	if [ -p "$tj_dir/in" ] || [ ! -e "$tj_dir/since" ]; then
		tj_await job
		read -r tj_pid <"$tj_dir/job"
		kill "-$tj_name" "-$tj_pid" 2>/dev/null || kill "-$tj_name" "$tj_pid"
		return
	fi
	tj_each
	[ -n "$tj_pids" ] || tj_exit $tj_ended "job has ended"
	kill "-$tj_name" $tj_pids
}

# tj_end kills the job's group and lets the supervisor note how it ended, so
# that what was written before is in the log. It waits for no more than that.
tj_end() {
	tj_find
	if [ ! -s "$tj_dir/exit" ] && [ -s "$tj_dir/job" ] && [ ! -e "$tj_dir/code" ]; then
		read -r tj_pid <"$tj_dir/job"
		if [ ! -d /proc/self ] || tj_carries "$tj_pid" "$tj_run"; then
			kill -KILL "-$tj_pid" || kill -KILL "$tj_pid"
			exec 6<>"$tj_dir/alive" 7<"$tj_dir/alive" 6>&-
			read -r tj_x <&7
		fi 2>/dev/null
	fi
	tj_get tj_exit "$tj_dir/exit"
	echo "$tj_run ${tj_exit:+ended}"
}

# tj_bury notes the end of a job whose processes have all been killed.
tj_bury() {
	tj_find
	tj_started=0000000000 # nothing is about to start any more
	tj_settle 137
}

# tj_adopt makes a job of the processes that a command left behind.
tj_adopt() {
	tj_each
	[ -n "$tj_pids" ] || tj_each # a process may pass by a look in its child
	[ -n "$tj_pids" ] || exit $tj_none
	tj_make
	echo >"$tj_dir/closed" # there is no input that is ours
	date +%s >"$tj_dir/since"
	for tj_p in $tj_pids; do
		echo "$tj_now pid $tj_p: $(tr '\0' ' ' <"/proc/$tj_p/cmdline")"
	done 2>/dev/null >"$tj_dir/log"
	cat "$tj_dir/log"
}
