# shellcheck shell=sh
# shellcheck disable=SC1007 # several variables are emptied on one line
# shellcheck disable=SC1090 # the file is one that this package has written
# shellcheck disable=SC2015 # A && B || C: C is for both failures
# shellcheck disable=SC2034 # some variables only take a field that is not needed, or are for a later script
# shellcheck disable=SC2086 # numbers, exit codes and lists of words need no quotes
# shellcheck disable=SC2094 # a FIFO is opened for reading and writing on purpose
# shellcheck disable=SC2115 # both parts of the name have been checked
# shellcheck disable=SC2154 # variables come from the script in front of this one
# shellcheck disable=SC2320 # the code of the redirection is meant
# shellcheck disable=SC3025 # only bash, which has /dev/tcp, comes here

# Shell functions for the jobs of one environment. A request sets variables, among
# them the exit codes, and sends the function that it calls with those that this
# one needs. Functions begin with job_, variables with tj_.

job_exit() {
	tj_status=$1
	shift
	echo "$*" >&2
	exit "$tj_status"
}

# job_ours succeeds if the directory of all jobs exists and belongs to this user.
job_ours() { [ -d "$tj_base" ] && [ ! -L "$tj_base" ] && [ -O "$tj_base" ]; }

# job_find exits with $tj_unknown unless $tj_id is a job.
job_find() {
	tj_dir=$tj_base/$tj_id
	job_ours && [ -s "$tj_dir/meta" ] || job_exit $tj_unknown "no such job"
	read -r tj_started tj_length tj_run <"$tj_dir/meta"
}

# job_get reads the first line of file $2 into variable $1, "" if there is none.
job_get() {
	eval "$1="
	[ ! -s "$2" ] || read -r "$1" <"$2"
}

# job_each sets tj_pids to the processes that carry the run ID.
job_each() {
	tj_pids=
	[ -n "$tj_run" ] || return
	for tj_p in /proc/[0-9]*; do
		! proc_carries "${tj_p#/proc/}" "$tj_run" || tj_pids="$tj_pids ${tj_p#/proc/}"
	done
}

# job_alive succeeds if the job has a process. It checks the supervisor first, and
# everything three times, because in the middle of an exec a process has no
# environment.
job_alive() {
	job_get tj_pid "$tj_dir/pid"
	[ -n "$tj_pid" ] || ! job_young || return 0
	if [ ! -d /proc/self ]; then
		[ -z "$tj_pid" ] || kill -0 "$tj_pid" 2>/dev/null
		return
	fi
	for tj_pass in 1 2 3; do
		[ -z "$tj_pid" ] || ! proc_carries "$tj_pid" "$tj_run" || return 0
		job_each
		[ -z "$tj_pids" ] || return 0
		sleep 0.01 2>/dev/null
	done
	return 1
}

# job_young succeeds if the supervisor may not have started yet. It compares the
# Terminal's clock and the time that has passed, because the clock here may be
# wrong.
job_young() {
	[ ! -e "$tj_dir/since" ] || return
	tj_now=$(date +%s)
	tj_asked=${tj_asked:-$tj_now}
	[ $((tj_clock - ${tj_started%?????????} + tj_now - tj_asked)) -lt 30 ]
}

# job_settle records the end of a job whose supervisor could not do it.
job_settle() {
	[ ! -s "$tj_dir/exit" ] || return 0
	job_alive && return
	[ ! -s "$tj_dir/exit" ] || return 0
	tj_now=$(date +%s)
	job_get tj_since "$tj_dir/since"
	job_get tj_code "$tj_dir/code" # of one whose supervisor was killed just then
	echo "${tj_code:-${1:--1}} ${tj_since:-$tj_now} $tj_now" >"$tj_dir/exit"
}

# job_drop removes jobs that finished $tj_kept seconds ago by the Terminal's clock.
# It sets tj_all to the number of the others and tj_old to the oldest finished one.
job_drop() {
	tj_all=0 tj_old= tj_least=
	for tj_dir in "$tj_base"/*/; do
		tj_dir=${tj_dir%/}
		[ ! -e "$tj_dir/gone" ] || rm -rf "$tj_dir"
		[ -s "$tj_dir/meta" ] || continue
		tj_all=$((tj_all + 1))
		job_get tj_exit "$tj_dir/exit"
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

# job_room removes the oldest finished jobs until there are fewer than $tj_most. It
# never removes a running one, and fails if all run.
job_room() {
	job_drop
	while [ "$tj_all" -ge "$tj_most" ]; do
		if [ -z "$tj_old" ]; then
			for tj_dir in "$tj_base"/*/; do
				tj_dir=${tj_dir%/}
				[ -s "$tj_dir/meta" ] || continue
				read -r tj_started tj_length tj_run <"$tj_dir/meta"
				job_settle
			done
			job_drop
			[ -n "$tj_old" ] || return 1
		fi
		rm -rf "$tj_old"
		tj_all=$((tj_all - 1)) tj_old=
		[ "$tj_all" -lt "$tj_most" ] || job_drop
	done
}

# job_house creates the directory of all jobs, unless the executor has done so.
job_house() {
	[ -d "$tj_base" ] || mkdir -m 700 "$tj_base" 2>/dev/null || [ -d "$tj_base" ] ||
		job_exit $tj_failed "$(mkdir -m 700 "$tj_base" 2>&1)"
	job_ours || job_exit $tj_failed "$tj_base is not a directory of this user"
}

# job_begin starts a job with the texts that an earlier start has left in the
# environment. To send them each time would take longer than everything else,
# because a shell reads its input byte by byte.
job_begin() {
	job_ours && [ -s "$tj_base/$tj_texts.start" ] && [ -s "$tj_base/$tj_texts.supervisor" ] ||
		job_exit $tj_absent "the texts are not there"
	. "$tj_base/$tj_texts.start"
}

# job_install writes the texts to the environment and starts a job with them.
job_install() {
	job_house
	if ! job_place "$tj_supervisor" supervisor || ! job_place "$tj_starter" start; then
		rm -f "$tj_base/.$tj_id"
		job_exit $tj_failed "cannot write to $tj_base: is the disk full?"
	fi
	. "$tj_base/$tj_texts.start"
}

# job_place writes $1 to a file atomically.
job_place() {
	{ printf %s "$1" >"$tj_base/.$tj_id" && mv -f "$tj_base/.$tj_id" "$tj_base/$tj_texts.$2"; } 2>/dev/null
}

# job_make creates the files of a new job.
job_make() {
	job_house
	tj_dir=$tj_base/$tj_id
	[ -d "$tj_dir" ] || job_enlarge
	job_put "$tj_command" command && job_put "" log && job_put "$tj_meta" meta ||
		job_undo $tj_failed "cannot write to $tj_dir: is the disk full?"
}

# job_enlarge creates the directory of a new job and those of later ones as far as
# there is room, because to start mkdir(1) takes longer than to start a job. The
# code that makes room is a text, so that the shell does not parse it each time,
# and is run in a subshell, because it uses the same variables.
job_enlarge() {
	set -- "$tj_base"/*/
	tj_left=$((tj_most - $#))
	[ $tj_left -gt 0 ] || job_yield || (eval "$tj_clear") || job_exit $tj_full "$tj_most jobs are running"
	set -- "$tj_dir"
	for tj_x in $tj_spares; do
		[ $# -ge $tj_left ] || set -- "$@" "$tj_base/$tj_x"
	done
	tj_text=$(mkdir -m 700 "$@" 2>&1) || [ -d "$tj_dir" ] || job_exit $tj_failed "$tj_text"
}

# job_yield drops the first finished job of $tj_oldest that no other start has
# taken, and leaves its directory to the supervisor of the new job. It prints which
# jobs are no longer there. Concurrent starts may have created too many jobs; then
# it fails, and job_room removes several.
job_yield() {
	[ $tj_left -gt -8 ] || return
	for tj_x in $tj_oldest; do
		if [ ! -s "$tj_base/$tj_x/meta" ]; then
			echo "$tj_x"
		elif [ -s "$tj_base/$tj_x/exit" ] && job_take "$tj_base/$tj_x"; then
			echo "$tj_x"
			tj_rubbish=$tj_base/$tj_x
			return 0
		fi
	done
	return 1
}

# job_take succeeds for the first caller and makes the job unknown.
job_take() {
	set -C
	{ echo >"$1/gone"; } 2>/dev/null
	tj_y=$?
	set +C
	[ $tj_y = 0 ] && printf '' >"$1/meta"
}

job_put() { { printf %s "$1" >"$tj_dir/$2"; } 2>/dev/null; }

job_undo() {
	rm -rf "$tj_base/$tj_id"
	job_exit "$@"
}

# job_start starts a job. A shell makes a background command ignore SIGINT (POSIX,
# Shell Command Language 2.11), and the command does not carry the job's run ID
# before its exec. So setsid(1) forks, which it does if it leads a process group;
# the second of two setsid leads one. Without setsid the job ignores SIGINT.
job_start() {
	job_make
	job_put "$tj_script" script || job_undo $tj_failed "cannot write to $tj_dir: is the disk full?"
	if [ "$tj_input" = stdin ]; then
		cat >"$tj_dir/stdin" && job_put "" closed || job_undo $tj_failed "cannot write to $tj_dir: is the disk full?"
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
	elif job_leads; then
		exec setsid "$@"
	else
		setsid setsid "$@"
	fi
}

# job_leads succeeds if this shell leads its process group.
job_leads() {
	[ -r "/proc/$$/stat" ] && read -r tj_x <"/proc/$$/stat" || return
	set -- ${tj_x##*) }
	[ "$3" = "$$" ]
}

# job_listening succeeds if something listens on the port. It reads the kernel's
# list (proc_net(5); state 0A is LISTEN), because a server may notice a connection.
job_listening() {
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

# job_free exits with $tj_taken if something listens on the port.
job_free() { ! job_listening || job_exit $tj_taken "something listens on port $tj_port already"; }

# job_follow polls the job until it has ended, something listens on the port, or
# $tj_rounds poll intervals have passed. The verdict goes to stderr, and the log to stdout as
# it grows, if it is to be shown.
job_follow() {
	job_find
	tj_at=-1
	[ -z "$tj_show" ] || job_open
	tj_until=
	! job_tick || tj_until=$((tj_up + tj_rounds * 5))
	while :; do
		job_get tj_exit "$tj_dir/exit"
		if [ -n "$tj_show" ]; then
			cat <&3
			job_last
			if [ "${tj_newest:--1}" -ge "$tj_at" ]; then # what fd 3 reads grows no more
				cat <&3
				job_open
				continue
			fi
		fi
		[ -z "$tj_exit" ] || job_exit 0 "exited $tj_exit"
		[ "$tj_port" = 0 ] || ! job_listening || job_exit 0 ready
		[ "$tj_rounds" -gt 0 ] && { [ -z "$tj_until" ] || job_tick && [ "$tj_up" -lt "$tj_until" ]; } || job_exit 0 late
		tj_rounds=$((tj_rounds - 1))
		sleep 0.05 2>/dev/null || { sleep 1; tj_rounds=$((tj_rounds - 19)); }
	done
}

# job_tick sets tj_up to the kernel's uptime, in hundredths of a second. To count
# poll intervals would not do, because each takes longer than it should.
job_tick() {
	[ -r /proc/uptime ] && read -r tj_up tj_x </proc/uptime && tj_up=$((${tj_up%.*} * 100 + 1${tj_up#*.} - 100))
}

# job_open opens the part of the log that follows the one that begins at byte
# $tj_at, which the log may have left behind by several parts, and sets $tj_at to
# where the new one begins. The newest is named log until there is a newer one,
# so it is opened between two looks at the names of the others. Without command,
# an exec that fails would end the shell.
job_open() {
	while [ -d "$tj_dir" ]; do
		job_last
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
		job_tail || continue
		command exec 3<"$tj_dir/log" || job_mend || continue
		job_last
		[ "$tj_newest" = "$tj_seen" ] || continue
		tj_at=$tj_end
		return
	done 2>/dev/null
	job_exit $tj_unknown "no such job"
}

# job_tail sets $tj_end to the byte where the newest part of the log begins. It
# fails if the part before that has gone meanwhile.
job_tail() {
	tj_end=0
	[ -n "$tj_newest" ] || return 0
	tj_end=$(wc -c 2>/dev/null <"$tj_dir/log.$tj_newest") && tj_end=$((tj_newest + tj_end))
}

# job_measure sets $tj_size to the end of the log. It fails if the job is gone.
job_measure() {
	while [ -d "$tj_dir" ]; do
		job_last
		tj_seen=$tj_newest
		job_tail && { tj_size=$(wc -c 2>/dev/null <"$tj_dir/log") || job_mend; } || continue
		job_last
		[ "$tj_newest" = "$tj_seen" ] || continue
		tj_size=$((tj_end + tj_size))
		return
	done
	return 1
}

# job_mend fails. If the log is missing for a while, it creates it: the supervisor
# renames a full part of the log, so a log that stays missing was removed by
# somebody.
job_mend() {
	[ ! -e "$tj_dir/log" ] || return
	tj_misses=$((${tj_misses:-0} + 1))
	if [ "$tj_misses" -gt 20 ] && [ -s "$tj_dir/meta" ]; then
		printf '' >>"$tj_dir/log"
	else
		sleep 0.01 2>/dev/null || sleep 1
	fi
	return 1
}

# job_last sets tj_parts to the offsets of the older parts of the log, in rising
# order, and tj_newest to the last of them.
job_last() {
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

# job_log writes a line with the first byte that is kept, the end, the byte where
# the data begin, and ended=CODE if the job has ended; then the data: up to $tj_max
# bytes from $tj_offset on, or from there before the end if it is negative. The
# names are read before and after the files are opened, so that no part can be
# taken for another. The exit code is read before the data, so that a log with a code is
# read to its end.
job_log() {
	job_find
	job_settle
	while [ -d "$tj_dir" ]; do
		job_last
		tj_seen=$tj_parts
		set -- $tj_parts
		exec 3</dev/null 4</dev/null 5</dev/null
		{
			[ $# -lt 1 ] || command exec 3<"$tj_dir/log.$1" || continue
			[ $# -lt 2 ] || command exec 4<"$tj_dir/log.$2" || continue
			[ $# -lt 3 ] || command exec 5<"$tj_dir/log.$3" || continue
			command exec 6<"$tj_dir/log" 7<"$tj_dir/log" || job_mend || continue
		} 2>/dev/null
		job_tail || continue
		job_last
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
	job_get tj_exit "$tj_dir/exit"
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

# job_report writes what is known of $tj_id, or of all jobs: a line about each,
# and their commands one after the other.
job_report() {
	tj_again=0
	until job_collect "$@"; do
		tj_again=$((tj_again + 1))
		[ $tj_again -lt 20 ] || return 1
	done
	printf '%s\n%s' "$tj_lines" "${tj_text%.}"
}

# job_collect fails if a job was dropped meanwhile: where environments share a
# /tmp others may be at it too.
job_collect() {
	tj_lines= tj_text=.
	if [ -n "$tj_id" ]; then
		job_find
		set -- "$tj_dir"
	else
		job_ours || return 0
		job_drop
		set -- "$tj_base"/*/
	fi
	for tj_dir; do
		shift
		tj_dir=${tj_dir%/}
		[ -s "$tj_dir/meta" ] || continue
		read -r tj_started tj_length tj_run <"$tj_dir/meta" || return
		job_settle
		job_get tj_exit "$tj_dir/exit"
		job_measure || return
		tj_lines="$tj_lines${tj_dir##*/} $tj_started $tj_length $tj_size $tj_exit
"
		set -- "$@" "$tj_dir/command"
	done
	[ $# -eq 0 ] || tj_text=$(cat "$@" 2>/dev/null && echo .)
}

# job_wait returns when the job has ended: at the end of file of the FIFO that the
# supervisor holds open, whose reading end it opens in a way that cannot block.
# Until the supervisor has made the FIFO, or if there is none, it polls.
job_wait() {
	job_find
	tj_pause=0.05
	[ -e "$tj_dir/since" ] || tj_pause=0.005
	while :; do
		job_settle
		job_get tj_exit "$tj_dir/exit"
		[ -z "$tj_exit" ] || break
		if [ -p "$tj_dir/alive" ]; then
			exec 6<>"$tj_dir/alive" 7<"$tj_dir/alive" 6>&-
			read -r tj_x <&7
			[ -s "$tj_dir/exit" ] || sleep "$tj_pause" 2>/dev/null
		else
			sleep "$tj_pause" 2>/dev/null || sleep 1
		fi
	done
	echo "$tj_exit"
}

# job_running exits with $tj_ended unless the job runs.
job_running() {
	job_find
	[ ! -e "$tj_dir/code" ] && [ ! -s "$tj_dir/exit" ] || job_exit $tj_ended "job has ended"
}

# job_await waits until the supervisor has written file $1: it may just have been
# started.
job_await() {
	tj_n=0
	while [ ! -s "$tj_dir/$1" ]; do
		tj_n=$((tj_n + 1))
		[ $tj_n -lt 100 ] && [ ! -s "$tj_dir/exit" ] || job_exit $tj_ended "job has ended"
		sleep 0.02 2>/dev/null || sleep 1
	done
}

# job_write opens the writing end of the FIFO in a way that cannot block. The pipe
# breaks when neither the job nor the keeper reads from it.
job_write() {
	job_running
	[ ! -e "$tj_dir/closed" ] && [ -e "$tj_dir/command" ] || job_exit $tj_closed "standard input of the job is closed"
	job_await keeper
	exec 6<>"$tj_dir/in" 7>"$tj_dir/in" 6>&-
	cat >&7 2>/dev/null || job_exit $tj_ended "job has ended"
}

job_close() {
	job_find
	[ ! -e "$tj_dir/closed" ] && [ ! -e "$tj_dir/code" ] && [ ! -s "$tj_dir/exit" ] || return 0
	job_await kept
	job_await keeper
	read -r tj_pid <"$tj_dir/keeper"
	echo >"$tj_dir/closed"
	[ -d /proc/self ] && ! proc_carries "$tj_pid" "$tj_run" || kill -USR1 "$tj_pid"
}

# job_signal signals the job's process group, or each process of an adopted job.
job_signal() {
	job_running
	if [ -p "$tj_dir/in" ] || [ ! -e "$tj_dir/since" ]; then
		job_await job
		read -r tj_pid <"$tj_dir/job"
		kill "-$tj_name" "-$tj_pid" 2>/dev/null || kill "-$tj_name" "$tj_pid"
		return
	fi
	job_each
	[ -n "$tj_pids" ] || job_exit $tj_ended "job has ended"
	kill "-$tj_name" $tj_pids
}

# job_end sends KILL to the job's process group and waits until the supervisor has
# recorded the end, so that all output is in the log.
job_end() {
	job_find
	if [ ! -s "$tj_dir/exit" ] && [ -s "$tj_dir/job" ] && [ ! -e "$tj_dir/code" ]; then
		read -r tj_pid <"$tj_dir/job"
		if [ ! -d /proc/self ] || proc_carries "$tj_pid" "$tj_run"; then
			kill -KILL "-$tj_pid" || kill -KILL "$tj_pid"
			exec 6<>"$tj_dir/alive" 7<"$tj_dir/alive" 6>&-
			read -r tj_x <&7
		fi 2>/dev/null
	fi
	job_get tj_exit "$tj_dir/exit"
	echo "$tj_run ${tj_exit:+ended}"
}

# job_bury records the end of a job whose processes have all been killed.
job_bury() {
	job_find
	tj_started=0000000000 # nothing is about to start any more
	job_settle 137
}

# job_adopt makes a job of the processes that a command left behind.
job_adopt() {
	job_each
	[ -n "$tj_pids" ] || job_each # a process may pass by a look in its child
	[ -n "$tj_pids" ] || exit $tj_none
	job_make
	echo >"$tj_dir/closed" # there is no input that is ours
	date +%s >"$tj_dir/since"
	for tj_p in $tj_pids; do
		echo "$tj_now pid $tj_p: $(tr '\0' ' ' <"/proc/$tj_p/cmdline")"
	done 2>/dev/null >"$tj_dir/log"
	cat "$tj_dir/log"
}
