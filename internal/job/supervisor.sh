# shellcheck shell=sh
# shellcheck disable=SC1007 # several variables are emptied on one line
# shellcheck disable=SC2016 # another shell expands it
# shellcheck disable=SC2034 # some variables only take a field that is not needed, or are for a later script
# shellcheck disable=SC2086 # numbers, exit codes and lists of words need no quotes
# shellcheck disable=SC2183 # printf pads nothing to a width

# The supervisor of one background job:
# sh FILE DIR SHELL FORM COUNT INPUT LIMIT RUBBISH
#
# It leads a session of its own and holds nothing of the call that started it.
# In DIR it keeps
#	pid, job  the process ids of this shell, and of the job's, which leads its
#	          own session and group, so that a signal reaches the job alone
#	in        the job's input; keeper is the process that holds it open, and
#	          kept tells that it heeds USR1
#	reader    the process id of the dd or cat that moves the output to the log
#	alive     a FIFO that only this shell holds open: its end of file is our end
#	log       the output; log.N is an older part of it that begins at byte N
#	room      is for exit, if the disk is full by then
#	code      the exit code, at once; exit the same with the clock at the start
#	          and the end, when the output before it is in the log
#
# COUNT blocks of 16 KiB are a sixteenth of what the log may hold. The job is
# run as a foreground command, because sh makes a background one ignore SIGINT.
# Variables begin with tj_, and the job gets none of them.
tj_dir=$1 tj_shell=$2 tj_form=$3 tj_count=$4 tj_input=$5 tj_limit=$6
echo $$ >"$tj_dir/pid"
if [ -n "$7" ]; then # of a job that had to go
	rm -rf "$7" &
fi
if ! mkfifo -m 600 "$tj_dir/in" "$tj_dir/out" "$tj_dir/alive" 2>>"$tj_dir/log"; then
	echo "126 0 0" >"$tj_dir/exit"
	exit
fi
printf '%99s' >"$tj_dir/room"
tj_setsid=setsid
command -v setsid >/dev/null || tj_setsid=

# tj_keep moves the output from fd 7 to the log, for as long as anybody holds
# the pipe, and holds the input on fd 4 until USR1 comes. dd takes what is
# there and never more than it writes, so none is lost between two of them, and
# says last how many blocks it has read, and written. If the log cannot be
# written the job still must not die of it.
tj_keep() {
	trap 'exec 4>&-; tj_hit=1' USR1
	echo >"$tj_dir/kept"
	tj_start=0 tj_old=
	while :; do
		LC_ALL=C dd bs=16384 count="$tj_count" <&7 >>"$tj_dir/log" 2>"$tj_dir/dd" 4>&- 7<&- &
		echo $! >"$tj_dir/reader"
		tj_stay
		case $tj_status in 129 | 130 | 137 | 143) continue ;; esac # by somebody's pkill dd
		tj_in= tj_out=
		while read -r tj_word tj_rest; do
			case $tj_word in *[!0-9+]* | "") continue ;; esac
			[ -z "$tj_out" ] || break
			[ -z "$tj_in" ] || tj_out=$tj_word
			tj_in=${tj_in:-$tj_word}
		done <"$tj_dir/dd"
		if [ -z "$tj_out" ] || [ "$tj_out" != "$tj_in" ]; then
			echo >"$tj_dir/full"
			cat <&7 >/dev/null 4>&- 7<&- &
			tj_stay
			break
		fi
		[ $((${tj_in%+*} + ${tj_in#*+})) -eq "$tj_count" ] || break
		tj_size=$(wc -c <"$tj_dir/log" 4>&- 7<&-)
		[ "$tj_size" -gt $((tj_count * 16384 * 3)) ] || continue
		set -- $tj_old
		if [ $# -gt 2 ]; then # before there is another: readers open three at most
			rm -f "$tj_dir/log.$1" 4>&- 7<&-
			shift
		fi
		mv "$tj_dir/log" "$tj_dir/log.$tj_start" 4>&- 7<&-
		tj_old="$* $tj_start"
		tj_start=$((tj_start + tj_size))
	done
	echo >"$tj_dir/eof"
}

# tj_stay waits for what has been started last, through every USR1, and sets
# tj_status. No file is made by the command ":" here: where that fails, the shell
# ends.
tj_stay() {
	tj_hit=1
	while [ -n "$tj_hit" ]; do
		tj_hit=
		wait $!
		tj_status=$?
	done
}

# tj_empty reports whether the pipe is empty and all that was in it is in the log:
# its reader sleeps in a read of a pipe. If /proc/PID/wchan is missing or 0, any
# sleep counts. Without /proc there is no way to tell, so the answer is yes.
tj_empty() {
	[ -r /proc/self/stat ] && [ ! -e "$tj_dir/full" ] || return 0
	tj_pid= tj_stat= tj_wchan=
	read -r tj_pid <"$tj_dir/reader"
	[ -n "$tj_pid" ] && read -r tj_stat <"/proc/$tj_pid/stat" || return
	case ${tj_stat##*)} in " S "*) ;; *) return 1 ;; esac
	read -r tj_wchan <"/proc/$tj_pid/wchan" # fails even then, as there is no newline
	case $tj_wchan in "" | 0 | *pipe*) ;; *) return 1 ;; esac
} 2>/dev/null

# tj_drain waits until everything written before the job's end is in the log.
# Mostly the pipe is at its end at once. If survivors hold it open, their output
# is waited for until the log has not grown for 100 ms, but at most about 1 s.
# Neither limit applies before the pipe was found empty, or the log has grown by
# what a pipe and dd hold (64 and 16 KiB): on a busy machine dd may not run for
# longer than that. After about 30 s, dd is considered stuck in its write.
tj_drain() {
	tj_n=0 tj_idle=0 tj_seen= tj_grown=0 tj_old=
	while [ ! -e "$tj_dir/eof" ]; do
		sleep 0.01 2>/dev/null || { sleep 1; tj_n=$((tj_n + 99)) tj_idle=9; }
		tj_n=$((tj_n + 1)) tj_idle=$((tj_idle + 1))
		! tj_empty || tj_seen=1
		[ -z "$tj_old" ] || [ $tj_idle -ge 10 ] || continue
		[ ! -e "$tj_dir/eof" ] || break
		tj_idle=0
		tj_size=$(wc -c <"$tj_dir/log")
		tj_size=$((${tj_size:-0}))
		if [ "$tj_size" = "$tj_old" ]; then
			[ -z "$tj_seen" ] || break
		elif [ -n "$tj_old" ]; then
			[ "$tj_size" -gt "$tj_old" ] || tj_old=0 # a new part of the log
			tj_grown=$((tj_grown + tj_size - tj_old))
			[ $tj_grown -le 81920 ] || tj_seen=1
		fi
		tj_old=$tj_size
		if [ $tj_n -ge 60 ] && [ -n "$tj_seen" ] || [ $tj_n -ge 2000 ]; then
			break
		fi
	done
}

# With both ends on 9 neither open of the pipe waits: a child that ends, as rm
# does, would interrupt it, and some shells take that for an error and exit.
exec 4<>"$tj_dir/in" 5<>"$tj_dir/alive" 8<"$tj_dir/$tj_input" 9<>"$tj_dir/out"
{
	exec 5>&- 7<"$tj_dir/out" 8<&- 9>&- # a redirection of the whole would keep a copy of 5
	tj_keep
} &
echo $! >"$tj_dir/keeper"
exec 4>&- 6>"$tj_dir/out" 9>&-
if [ "$tj_form" = file ]; then
	set -- "$tj_shell" "$tj_dir/script"
else
	tj_script=$(cat "$tj_dir/script" && echo .)
	set -- "$tj_shell" -c -- "${tj_script%.}"
fi
tj_dog=
if [ -n "$tj_limit" ]; then
	$tj_setsid sh -c 'sleep "$1" 2>/dev/null || sleep "${1%.*}"
		echo >"$0/limit"
		read -r tj_job <"$0/job"
		kill -TERM "-$tj_job" && tj_job=-$tj_job || kill -TERM "$tj_job"
		tj_n=0
		while [ $tj_n -lt 20 ] && kill -0 "$tj_job"; do
			sleep 0.1 2>/dev/null || { sleep 1; tj_n=$((tj_n + 9)); }
			tj_n=$((tj_n + 1))
		done
		kill -KILL "$tj_job"' "$tj_dir" "$tj_limit" 5>&- 6>&- 8<&- &
	tj_dog=$!
fi
tj_began=$(date +%s.%N)
( # a subshell, or this shell says "Killed" into the log
	exec <&8 >&6 2>&1 5>&- 6>&- 8<&-
	exec $tj_setsid sh -c 'echo $$ >"$0/job" && exec "$@"' "$tj_dir" "$@"
)
tj_code=$?
if [ -e "$tj_dir/limit" ]; then
	tj_code=124 tj_dog= # which still has to end what does not heed TERM
fi
echo "$tj_code" >"$tj_dir/code"
exec 6>&-
tj_ended=$(date +%s.%N)
[ -z "$tj_dog" ] || kill -KILL "-$tj_dog" || kill -KILL "$tj_dog"
tj_drain
tj_exit="$tj_code $tj_began $tj_ended"
echo "$tj_exit" >"$tj_dir/exit" || { # what overwrites takes no room of a full disk
	echo "$tj_exit" 1<>"$tj_dir/room" && mv -f "$tj_dir/room" "$tj_dir/exit"
}
