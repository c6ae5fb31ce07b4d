# Sends KILL to every process with $id in the TERMINAL_RUN_ID of its
# environment, and exits 1 if some are left after thirty passes. Two passes in
# a row must find none, because in the middle of an exec a process shows no
# environment. read skips the NUL bytes between variables; a zombie's environ
# is empty.
carries() {
	while IFS= read -r line || [ -n "$line" ]; do
		case $line in *TERMINAL_RUN_ID=*"$id"*) return 0 ;; esac
	done
	return 1
}
pass=0 clean=0
while [ $pass -lt 30 ]; do
	found=
	for dir in /proc/[0-9]*; do
		{ carries <"$dir/environ"; } 2>/dev/null || continue
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
echo "still running:$found"
exit 1
