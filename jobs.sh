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

# tj_carries tells whether process $1 carries the run id $2; see sweep.sh.
tj_carries() {
	{ while IFS= read -r tj_line || [ -n "$tj_line" ]; do
		case $tj_line in *TERMINAL_RUN_ID=*"$2"*) return 0 ;; esac
	done <"/proc/$1/environ"; } 2>/dev/null
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

# tj_settle notes the end of a job that nobody was there to note.
tj_settle() {
	[ ! -s "$tj_dir/exit" ] || return 0
	tj_alive && return
	[ ! -s "$tj_dir/exit" ] || return 0
	tj_now=$(date +%s)
	tj_get tj_since "$tj_dir/since"
	echo "${1:--1} ${tj_since:-$tj_now} $tj_now" >"$tj_dir/exit"
}

# tj_drop removes jobs that have been finished for $tj_kept seconds by the
# Terminal's clock, and finds the number of the others and the oldest finished.
tj_drop() {
	tj_all=0 tj_old= tj_oldest=
	for tj_dir in "$tj_base"/*/; do
		tj_dir=${tj_dir%/}
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
		elif [ -z "$tj_oldest" ] || [ "$tj_started" -lt "$tj_oldest" ]; then
			tj_oldest=$tj_started tj_old=$tj_dir
		fi
	done
}

# tj_room sees to it that there are no more than $tj_most jobs, the new one
# included: the oldest finished go, and one that runs never does.
tj_room() {
	while tj_drop && [ "$tj_all" -gt "$tj_most" ]; do
		if [ -z "$tj_old" ]; then
			for tj_dir in "$tj_base"/*/; do
				tj_dir=${tj_dir%/}
				[ -s "$tj_dir/meta" ] && [ "$tj_dir" != "$tj_base/$tj_id" ] || continue
				read -r tj_started tj_length tj_run <"$tj_dir/meta"
				tj_settle
			done
			tj_drop
		fi
		[ -n "$tj_old" ] || return 1
		rm -rf "$tj_old"
	done
}

# tj_make makes the directory of a new job, and before it that of all jobs,
# where the executor has not done so.
# What is rarely needed comes as a text, to spare the shell from parsing it,
# and uses the same variables, so it gets a shell of its own.
tj_make() {
	[ -d "$tj_base" ] || mkdir -m 700 "$tj_base" 2>/dev/null || [ -d "$tj_base" ] ||
		tj_exit $tj_failed "$(mkdir -m 700 "$tj_base" 2>&1)"
	tj_ours || tj_exit $tj_failed "$tj_base is not a directory of this user"
	tj_dir=$tj_base/$tj_id
	[ -d "$tj_dir" ] || tj_text=$(mkdir -m 700 "$tj_dir" 2>&1) || tj_exit $tj_failed "$tj_text"
	tj_put "$tj_command" command && tj_put "" log && tj_put "$tj_meta" meta ||
		tj_undo $tj_failed "cannot write to $tj_dir: is the disk full?"
	set -- "$tj_base"/*/
	[ $# -le $tj_most ] || (eval "$tj_clear") || tj_undo $tj_full "$tj_most jobs are running"
}

tj_put() { { printf %s "$1" >"$tj_dir/$2"; } 2>/dev/null; }

tj_undo() {
	rm -rf "$tj_base/$tj_id"
	tj_exit "$@"
}

# tj_start starts a job. A shell makes a command that it does not wait for
# ignore SIGINT. bash can take that back. For others setsid is needed twice:
# what the first one starts leads a group, so the second one forks and does not
# wait. Where there is no setsid either, the job ignores SIGINT.
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
	export tj_supervisor # and not as an argument, or pkill -f sleep would find it
	set -- sh -c 'eval "$tj_supervisor"' job "$tj_dir" "$tj_shell" "$tj_form" "$tj_count" "$tj_input" "$tj_limit"
	exec </dev/null >/dev/null 2>&1 # here, so that no fork holds what the caller waits for
	if ! command -v setsid; then
		(
			trap '' HUP
			TERMINAL_RUN_ID=$tj_run exec "$@"
		) &
	elif [ -n "$BASH_VERSION" ]; then
		(
			trap - INT QUIT
			TERMINAL_RUN_ID=$tj_run exec setsid "$@"
		) &
	else
		TERMINAL_RUN_ID=$tj_run setsid setsid "$@"
	fi
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
	tj_last
	tj_seen=$tj_newest
	tj_open
	while :; do
		tj_get tj_exit "$tj_dir/exit"
		[ -z "$tj_show" ] || cat <&3
		tj_last
		if [ -n "$tj_show" ] && [ "$tj_newest" != "$tj_seen" ]; then
			tj_seen=$tj_newest
			cat <&3
			tj_open
			continue
		fi
		[ -z "$tj_exit" ] || tj_exit 0 "exited $tj_exit"
		[ "$tj_port" = 0 ] || ! tj_listening || tj_exit 0 ready
		[ "$tj_rounds" -gt 0 ] || tj_exit 0 late
		tj_rounds=$((tj_rounds - 1))
		sleep 0.05 2>/dev/null || { sleep 1; tj_rounds=$((tj_rounds - 19)); }
	done
}

# tj_open opens the log. There is none for a moment when an old part has been
# put aside; exec alone would end the shell then.
tj_open() {
	until command exec 3<"$tj_dir/log"; do
		[ -d "$tj_dir" ] || tj_exit $tj_unknown "no such job"
	done 2>/dev/null
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

# tj_log writes a line with the first byte that is kept, the end, and the byte
# where the data begin; then the data: up to $tj_max bytes from $tj_offset on,
# or from there before the end if it is negative. The files are opened between
# two looks at their names, so that no part can be taken for another.
tj_log() {
	tj_find
	while [ -d "$tj_dir" ]; do
		tj_last
		tj_seen=$tj_parts
		set -- $tj_parts
		exec 3</dev/null 4</dev/null 5</dev/null
		{
			[ $# -lt 1 ] || command exec 3<"$tj_dir/log.$1" || continue
			[ $# -lt 2 ] || command exec 4<"$tj_dir/log.$2" || continue
			[ $# -lt 3 ] || command exec 5<"$tj_dir/log.$3" || continue
			command exec 6<"$tj_dir/log" 7<"$tj_dir/log" || continue
		} 2>/dev/null
		tj_end=0
		[ -z "$tj_newest" ] || tj_end=$((tj_newest + $(wc -c <"$tj_dir/log.$tj_newest")))
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
	echo "$tj_first $tj_end $tj_offset ${tj_exit:+ended} $tj_full"
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
		tj_last
		tj_size=$(wc -c <"$tj_dir/log") || return
		[ -z "$tj_newest" ] || tj_size=$((tj_size + tj_newest + $(wc -c <"$tj_dir/log.$tj_newest")))
		tj_lines="$tj_lines${tj_dir##*/} $tj_started $tj_length $((tj_size)) $tj_exit
"
		set -- "$@" "$tj_dir/command"
	done
	[ $# -eq 0 ] || tj_text=$(cat "$@" 2>/dev/null && echo .)
}

# tj_wait returns when the job has ended. Of the FIFO that the supervisor holds
# open it gets a reading end in a way that cannot block, and then waits for
# the end of file. For processes that have no supervisor it has to look.
tj_wait() {
	tj_find
	while :; do
		tj_settle
		tj_get tj_exit "$tj_dir/exit"
		[ -z "$tj_exit" ] || break
		if [ -p "$tj_dir/alive" ]; then
			exec 6<>"$tj_dir/alive" 7<"$tj_dir/alive" 6>&-
			read -r tj_x <&7
			[ -s "$tj_dir/exit" ] || sleep 0.05 2>/dev/null
		else
			sleep 0.05 2>/dev/null || sleep 1
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
# made a file.
tj_await() {
	tj_n=0
	while [ ! -e "$tj_dir/$1" ]; do
		tj_n=$((tj_n + 1))
		[ $tj_n -lt 100 ] && [ ! -s "$tj_dir/exit" ] || tj_exit $tj_ended "job has ended"
		sleep 0.02 2>/dev/null || sleep 1
	done
}

# tj_write opens the FIFO for reading too, because that does not block.
tj_write() {
	tj_running
	[ ! -e "$tj_dir/closed" ] && [ -e "$tj_dir/command" ] || tj_exit $tj_closed "standard input of the job is closed"
	tj_await keeper
	cat 1<>"$tj_dir/in"
}

tj_close() {
	tj_find
	[ ! -e "$tj_dir/closed" ] && [ ! -e "$tj_dir/code" ] && [ ! -s "$tj_dir/exit" ] || return 0
	tj_await kept
	tj_await keeper
	read -r tj_pid <"$tj_dir/keeper"
	: >"$tj_dir/closed"
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
	tj_settle 137
}

# tj_adopt makes a job of the processes that a command left behind.
tj_adopt() {
	tj_each
	[ -n "$tj_pids" ] || exit $tj_none
	tj_make
	date +%s >"$tj_dir/since"
	for tj_p in $tj_pids; do
		echo "$tj_now pid $tj_p: $(tr '\0' ' ' <"/proc/$tj_p/cmdline")"
	done 2>/dev/null >"$tj_dir/log"
	cat "$tj_dir/log"
}
