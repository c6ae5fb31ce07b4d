//go:build unix

package archive

import "syscall"

// nonblocking is a flag for opening files. Without it, opening a FIFO waits for
// a writer (open(2), fifo(7)).
const nonblocking = syscall.O_NONBLOCK
