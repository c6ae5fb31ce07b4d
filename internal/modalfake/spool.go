package modalfake

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
)

// Sizes of a spool. The SDK's window for a stream is 64 MiB, so that much may
// have been sent and lost; the file keeps more than that for a resumed read.
const (
	spoolHead  = 64 << 10  // bytes that stay in memory
	spoolRing  = 192 << 20 // bytes of the rest that the file holds
	spoolAhead = 64 << 20  // bytes that may wait to be read before the command must
)

var errSpoolLost = errors.New("this part of the output is no longer kept")

// spool keeps the output of a command for reading from any offset: the beginning
// in memory, the rest in a file used as a ring buffer. There is one writer.
type spool struct {
	dir string

	mu      sync.Mutex // guards the rest; not held while the file is read or written
	changed chan struct{}
	head    []byte
	file    *os.File
	written int64
	read    int64 // the furthest that anybody has read
	closed  bool  // nothing more is coming
	freed   bool  // the file is closed
	forgone bool  // nobody reads any more; the writer must not wait
}

func newSpool(dir string) *spool { return &spool{dir: dir, changed: make(chan struct{})} }

func (s *spool) changeLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Write keeps p, and waits while too much is unread.
func (s *spool) Write(p []byte) (int, error) {
	done := 0
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := min(len(p), spoolHead-len(s.head)); n > 0 {
		s.head = append(s.head, p[:n]...)
		s.written += int64(n)
		done = n
		s.changeLocked()
	}
	for done < len(p) {
		for s.written-s.read > spoolAhead && !s.forgone {
			changed := s.changed
			s.mu.Unlock()
			<-changed
			s.mu.Lock()
		}
		if s.forgone || s.freed {
			return len(p), nil
		}
		if err := s.openLocked(); err != nil {
			return done, err
		}
		file, at := s.file, (s.written-spoolHead)%spoolRing
		piece := p[done:min(int64(len(p)), int64(done)+spoolRing-at)]
		s.mu.Unlock()
		n, err := file.WriteAt(piece, at)
		s.mu.Lock()
		done += n
		s.written += int64(n)
		s.changeLocked()
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

func (s *spool) openLocked() (err error) {
	if s.file != nil {
		return nil
	}
	if s.file, err = os.CreateTemp(s.dir, "output-"); err == nil {
		_ = os.Remove(s.file.Name()) // it lives as long as it is open
	}
	return err
}

// ReadAt waits until there is something at the offset and reads it, or
// returns io.EOF at the end.
func (s *spool) ReadAt(ctx context.Context, p []byte, offset int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for offset >= s.written {
		if s.closed {
			if s.read >= s.written {
				s.freeLocked() // who has the end does not ask again
			}
			return 0, io.EOF
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if err := ctx.Err(); err != nil {
			return 0, err
		}
	}
	n := 0
	if offset < int64(len(s.head)) {
		n = copy(p, s.head[offset:])
	} else {
		if s.freed {
			return 0, errSpoolLost
		}
		file, at := s.file, (offset-spoolHead)%spoolRing
		piece := p[:min(int64(len(p)), s.written-offset, spoolRing-at)]
		s.mu.Unlock()
		var err error
		n, err = file.ReadAt(piece, at)
		s.mu.Lock()
		if err != nil {
			return 0, err
		}
		if offset < s.written+spoolHead-spoolRing {
			return 0, errSpoolLost // it may have been written over meanwhile
		}
	}
	s.read = max(s.read, offset+int64(n))
	s.changeLocked()
	return n, nil
}

// close marks the end of the output.
func (s *spool) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.changeLocked()
}

// forgo makes Write discard instead of waiting for readers.
func (s *spool) forgo() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgone = true
	s.changeLocked()
}

// free closes the file.
func (s *spool) free() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.freeLocked()
}

func (s *spool) freeLocked() {
	s.freed = true
	if s.file != nil {
		_ = s.file.Close()
		s.file = nil
	}
}
