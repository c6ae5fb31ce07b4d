# Sends TERM to the process group $pid, and two seconds later KILL to what is
# left of it. A group with nobody in it takes no signal.
kill -TERM "-$pid" 2>/dev/null || exit 0
pass=0
while [ $pass -lt 40 ] && kill -0 "-$pid" 2>/dev/null; do
	pass=$((pass + 1))
	sleep 0.05 2>/dev/null || { sleep 1; pass=$((pass + 20)); }
done
kill -KILL "-$pid" 2>/dev/null
exit 0
