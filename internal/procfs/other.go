//go:build !linux

package procfs

import "context"

// KillRun does nothing: without /proc a process cannot be found by its run ID.
func KillRun(context.Context, string) error { return nil }

// startTime returns "": there is no portable way to know it.
func startTime(int) string { return "" }
