//go:build !unix

package archive

// nonblocking is not needed: no FIFO can be found among the files.
const nonblocking = 0
