// Readers and writers that the copying of file contents needs.

package archive

import (
	"archive/tar"
	"context"
	"io"
)

// copyBuffer is the number of bytes that are moved at once between a file and an
// archive.
const copyBuffer = 256 << 10

// NewContextReader returns a reader of r that fails with the cause of ctx once
// ctx has ended. It does not interrupt a Read of r that blocks.
func NewContextReader(ctx context.Context, r io.Reader) io.Reader { return contextReader{ctx, r} }

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}

// onlyWriter hides the ReadFrom method of a Writer, with which io.CopyBuffer
// would not use its buffer.
type onlyWriter struct{ io.Writer }

// A contentReader reads the contents of an archive's entries. It records the
// error of the archive, so that it can be told from one of the file that the
// content is copied to. Like onlyWriter, it hides WriteTo from io.CopyBuffer.
type contentReader struct {
	tr  *tar.Reader
	err error
}

func (r *contentReader) Read(p []byte) (int, error) {
	n, err := r.tr.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}
