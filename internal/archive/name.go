// The names of an archive's entries, which may be hostile.

package archive

import (
	"archive/tar"
	"cmp"
	"path/filepath"
	"strings"
)

// MaxPath is the length in bytes of the longest path that Linux takes: PATH_MAX
// of limits.h without the NUL byte.
const MaxPath = 4095

// rootName is the name of an archive's first entry, without a slash at its end.
type rootName string

func newRootName(first *tar.Header) rootName { return rootName(strings.TrimSuffix(first.Name, "/")) }

// relative returns the name of an entry below the first one, "" for that one
// itself. It fails unless each element of the result is a plain name, so that
// the result cannot lead out of a directory.
func (root rootName) relative(name string) (rel string, err error) {
	name = strings.TrimSuffix(name, "/")
	if name == string(root) {
		return "", nil
	}
	rel, ok := strings.CutPrefix(name, string(root)+"/")
	if !ok || !filepath.IsLocal(filepath.FromSlash(rel)) || filepath.Separator != '/' && strings.ContainsRune(rel, filepath.Separator) {
		return "", nameError(name)
	}
	for element := range strings.SplitSeq(rel, "/") {
		if element == "" || element == "." || element == ".." {
			return "", nameError(name)
		}
	}
	return rel, nil
}

// parentOf returns the directory that rel is in, "" for the root of the tree.
func parentOf(rel string) string {
	return rel[:max(0, strings.LastIndexByte(rel, '/'))]
}

// local returns rel as a name for an os.Root.
func local(rel string) string { return filepath.FromSlash(cmp.Or(rel, ".")) }

// IsFile reports whether h is the header of a regular file, sparse or not.
func IsFile(h *tar.Header) bool {
	return h.Typeflag == tar.TypeReg || h.Typeflag == tar.TypeGNUSparse
}
