# shellcheck shell=sh
# shellcheck disable=SC1007 # several variables are emptied on one line
# shellcheck disable=SC2086 # numbers, exit codes and lists of words need no quotes

# Shell functions that find processes by the run ID in their environment. All
# functions begin with proc_, all variables with pc_.

# proc_carries succeeds if process $1 has $2 in its TERMINAL_RUN_ID, and sets
# pc_line to the line with that. It returns 2 if the process has exited or its
# environment cannot be read. read skips the NUL bytes between variables.
#
# In the middle of an exec a process has no environment, and one that is being
# read ends early. So an environment counts only if it was at the same address
# before and after it was read: fields 50 and 51 of stat are its start and end
# (proc_pid_stat(5)), which are equal if it is empty. Where stat hides them even
# for this shell, the same must be read twice. A process without memory (field
# 23) is a zombie or a kernel thread.
proc_carries() {
	pc_looks=0 pc_place= pc_environ=
	while [ $pc_looks -lt 30 ]; do
		{ read -r pc_line <"/proc/$1/stat"; } 2>/dev/null || return 2
		set -- "$1" "$2" ${pc_line##*) }
		[ "${23:-0}" != 0 ] && [ "$pc_place" != "${50:-0} ${51:-0}" ] || return 1
		pc_before=$pc_environ pc_environ= pc_place=
		{ while IFS= read -r pc_line || [ -n "$pc_line" ]; do
			case $pc_line in *TERMINAL_RUN_ID=*"$2"*) return 0 ;; esac
			pc_environ=$pc_environ.$pc_line
		done <"/proc/$1/environ"; } 2>/dev/null || return 2
		if [ "${50:-0}" = 0 ]; then
			read -r pc_line </proc/self/stat
			set -- "$1" "$2" ${pc_line##*) }
			[ "${50:-0}" != 0 ] || [ -z "$pc_environ" ] || [ "$pc_environ" != "$pc_before" ] || return 1
		elif [ -n "$pc_environ" ] || [ "${50}" = "${51}" ]; then
			pc_place="${50} ${51}"
		fi
		pc_looks=$((pc_looks + 1))
		[ $pc_looks -lt 10 ] || sleep 0.01 2>/dev/null
	done
	return 1
}
