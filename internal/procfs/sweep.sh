# shellcheck shell=sh
# shellcheck disable=SC2154 # variables come from the script in front of this one

# Sends KILL to every process with $id in the TERMINAL_RUN_ID of its
# environment, and exits 1 if some are left after thirty passes. Two passes in
# a row must find none, because a process may fork a child that comes too late
# for a pass, and end before its turn. proc_carries is in functions.sh.
pass=0 clean=0
while [ $pass -lt 30 ]; do
	found=
	for dir in /proc/[0-9]*; do
		proc_carries "${dir#/proc/}" "$id" || continue
		found="$found ${dir#/proc/}"
		kill -KILL "${dir#/proc/}" 2>/dev/null
	done
	if [ -z "$found" ]; then
		[ $clean -eq 0 ] || exit 0
		clean=1
	else
		clean=0
	fi
	pass=$((pass + 1))
	[ $pass -lt 5 ] || sleep 0.05 2>/dev/null || sleep 1
done
echo "still running:$found" >&2
exit 1
