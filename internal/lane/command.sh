# shellcheck shell=sh
# shellcheck disable=SC1007 # several variables are emptied on one line
# shellcheck disable=SC2016 # another shell expands it
# shellcheck disable=SC2034 # some variables only take a field that is not needed, or are for a later script
# shellcheck disable=SC2154 # variables come from the script in front of this one
# shellcheck disable=SC2317 # called by name through eval

# The functions that turn a shell into a command. The lane's shell and its standby
# have them. The standby waits in a session of its own, because setsid(1) takes as
# long to start as the command's shell. All names begin with lane_ and are hidden
# from commands; variables with such names go through env(1). Descriptors 3 and 4
# are the stream's stdout and stderr; 1 and 2 are /dev/null, which hides the
# shells' messages about killed children.
set +aefuvx
lane_n='
'

# The shell works on bytes; lane_locale restores the locale for the command.
unset LC_ALL
LC_ALL=C

# lane_join joins the pieces of a long script (MAX_ARG_STRLEN, execve(2)) and hides
# them and their variable from the command.
lane_join='IFS=;lane_script="$*";IFS=" 	
";set --;eval "unset lane_script
$lane_script"'

# lane_enter WORD MODE DIR ID VALUE SCRIPT... execs the command. MODE has m if
# stderr is stdout, i if the lane's stdin is inherited, d if survivors are not
# searched for. Survivors are found by ID; VALUE is TERMINAL_RUN_ID if it differs.
# SHELL is set because bash looks it up in the user database otherwise, slowly.
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

# lane_refuse WORD DIR reports why the directory cannot be entered: its nearest
# existing ancestor is no directory, is not searchable, or lacks the entry.
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

# lane_more evals the next line. It skips lines without the lane's tag: the rest of
# a line whose beginning a killed standby had read.
lane_more() {
	while :; do
		IFS= read -r lane_l || exit 0
		case $lane_l in "$lane_tag"*) break ;; esac
	done
	eval "${lane_l#"$lane_tag"}"
}

# lane_wait is the standby: it evals lines until one turns it into the command or
# makes it leave the next line to the lane's shell. It leads a session, so $$ is
# the command's pid. Its variables arrive in the environment and are unexported.
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
