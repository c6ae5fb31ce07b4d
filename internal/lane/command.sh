# What becomes a command. A lane's shell has these functions, and so has the
# standby: a shell that it keeps waiting in a session of its own, because
# setsid(1) takes as long to start as the command's shell does. All names begin
# with lane_, which no command gets to see; variables of such a name, and those
# that mean something to a shell, go through env(1). 3 and 4 are the stream's
# stdout and stderr; these shells' own are /dev/null, which hides what they say
# about killed children.
set +aefuvx
lane_n='
'

# The shell works on bytes, the command gets the locale that was meant for it.
unset LC_ALL
LC_ALL=C

# A long script comes in pieces, because Linux takes no more than 128 KiB for
# one argument. The command sees neither them nor the variable they went into.
lane_join='IFS=;lane_script="$*";IFS=" 	
";set --;eval "unset lane_script
$lane_script"'

# lane_enter WORD MODE DIR ID VALUE SCRIPT... becomes the command. In MODE, m:
# stderr is stdout; i: stdin is the rest of the lane's; d: survivors are not
# looked for. ID is what survivors are searched by, VALUE what TERMINAL_RUN_ID is
# to be if it is not that. A bash that finds no SHELL looks the user up to set
# one, which takes it longer than all that is done here.
lane_enter() {
	cd -P "$3" || lane_refuse "$1" "$3"
	unset OLDPWD
	export "PWD=$3" "TERMINAL_RUN_ID=${5:-$4}" "SHELL=${SHELL:-$lane_shell}"
	lane_env
	printf '\036%ss%s\n' "$1" "$lane_pid" >&3
	case $2 in *i*) ;; *) exec </dev/null ;; esac
	case $2 in *m*) exec >&3 2>&3 3>&- 4>&- ;; *) exec >&3 2>&4 3>&- 4>&- ;; esac
	shift 5
	if [ $# -eq 1 ]; then
		lane_exec ${lane_session:+"$lane_session"} "$lane_shell" -c -- "$1"
	else
		lane_exec ${lane_session:+"$lane_session"} "$lane_shell" -c -- "$lane_join" "$lane_shell" "$@"
	fi
}

# lane_refuse WORD DIR says why the directory cannot be entered: the nearest
# parent that there is is no directory, may not be searched, or does not have it.
lane_refuse() {
	lane_x=$2
	while [ -n "$lane_x" ] && ! [ -e "$lane_x" ]; do
		lane_x=${lane_x%/*}
	done
	lane_x=${lane_x:-/}
	if ! [ -d "$lane_x" ]; then
		printf '\036%snd\n' "$1" >&3
	elif [ -x "$lane_x" ] && [ "$lane_x" != "$2" ]; then
		printf '\036%sne\n' "$1" >&3
	else
		printf '\036%snp\n' "$1" >&3
	fi
	exit 0
}

# lane_more does one line more. A standby that was killed may have read half a
# line, so what does not begin with the lane's tag is the other half.
lane_more() {
	while :; do
		IFS= read -r lane_l || exit 0
		case $lane_l in "$lane_tag"*) break ;; esac
	done
	eval "${lane_l#"$lane_tag"}"
}

# lane_wait is the standby: it does lines until one makes it the command, or
# tells it to leave the next one to the lane's shell. It leads a session, so $$
# is the command's pid. Its variables came through the environment, where they
# must not stay.
lane_wait() {
	for lane_x in text tag def shell env1 lc locale; do
		eval "lane_l=\$lane_$lane_x; unset lane_$lane_x; lane_$lane_x=\$lane_l"
	done
	lane_session= lane_pid=$$
	eval "$lane_def"
	lane_run() { lane_enter "$@"; }
	lane_end() { :; }
	lane_back() { exit 0; }
	while :; do
		lane_more
	done
}
