// Package shellscript quotes words for a POSIX shell, assembles scripts and
// links them from libraries of functions.
//
// It knows nothing of what the scripts do. Every script of this module is an
// embedded file that belongs to the package which sends it.
package shellscript
