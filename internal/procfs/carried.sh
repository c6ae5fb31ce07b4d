# shellcheck shell=sh
# shellcheck disable=SC2154 # variables come from the script in front of this one

# Prints once those of the words in $ids that a process has in its TERMINAL_RUN_ID,
# or all of them if there are processes whose environment cannot be read.
# proc_carries is in functions.sh.
found=
for dir in /proc/[0-9]*; do
	[ "$dir" != /proc/1 ] || continue # the container's init
	if proc_carries "${dir#/proc/}" ""; then
		for id in $ids; do
			case " $found " in *" $id "*) continue ;; esac
			case $pc_line in *TERMINAL_RUN_ID=*"$id"*) found="$found $id" ;; esac
		done
	elif [ $? = 2 ]; then
		args= # threads of the kernel and zombies have none
		{ IFS= read -r args <"$dir/cmdline"; } 2>/dev/null
		if [ -n "$args" ]; then
			found=$ids
			break
		fi
	fi
done
echo "$found"
exit 0
