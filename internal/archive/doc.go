// Package archive packs files and trees of this machine into tar archives, and
// unpacks archives from environments that are not trusted.
//
// An archive is a tar stream as terminal.FileSystem describes it. Its first
// entry is the file or directory itself, under any name; the names of all others
// begin with that name and a slash. Archives are written in GNU's format, which
// every tar reads: busybox ignores the long names of the POSIX (pax) format.
//
// Open and Source.Pack write an archive, Unpack makes a file or a tree of one,
// Repack renames the entries of one as it passes. ReplaceFile and OpenRegular
// handle one file of this machine, for Unpack and for a backend that has no
// other file system. The package holds no state and no lock; a Source is used by
// one goroutine at a time.
package archive
