// Package procfs finds the processes of a run and ends them: by the run ID in
// their environment, their process group, their session and their parent.
//
// There are two implementations of each search. The one in Go looks into this
// machine's /proc (proc_pid_stat(5), proc_pid_environ(5)); on other systems than
// Linux it finds nothing. The one in POSIX sh, in *.sh, is for environments
// that are reached through a shell only.
package procfs
