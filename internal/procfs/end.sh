# shellcheck shell=sh
# shellcheck disable=SC2015 # A && B || C: C is for both failures
# shellcheck disable=SC2154 # variables come from the script in front of this one

# Sends TERM to the process group $pid, and two seconds later KILL to what is
# left of it. A group with nobody in it takes no signal. The clock is that of
# the kernel, because on a busy machine every sleep takes its time to start.
clock() {
	read -r up rest </proc/uptime && now=$((${up%.*} * 100 + 1${up#*.} - 100))
}
kill -TERM "-$pid" 2>/dev/null || exit 0
now=0 pass=0 pause=0.02
clock
end=$((now + 200))
while kill -0 "-$pid" 2>/dev/null; do
	clock
	[ "$now" -lt "$end" ] && [ $pass -lt 30 ] || break
	pass=$((pass + 1))
	sleep $pause 2>/dev/null || { sleep 1; pass=$((pass + 15)); }
	pause=0.1
done
kill -KILL "-$pid" 2>/dev/null
exit 0
