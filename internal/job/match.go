// Matcher: a pattern in a log that grows.

package job

import (
	"bytes"
	"regexp"
)

// maxLine is the number of bytes at the end of a line in which a Matcher looks
// for its pattern.
const maxLine = 64 << 10

// A Matcher looks for a pattern in the lines that are written to it. The end of
// a line need not have come. It is not safe for concurrent use.
type Matcher struct {
	pattern *regexp.Regexp // nil: matches nothing
	found   func()
	line    []byte
	matched bool
}

// NewMatcher returns a Matcher that calls found at the first match.
func NewMatcher(pattern *regexp.Regexp, found func()) *Matcher {
	return &Matcher{pattern: pattern, found: found}
}

// Matched reports whether the pattern has matched.
func (m *Matcher) Matched() bool { return m.matched }

// Write takes the next part of the log. It never fails.
func (m *Matcher) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0 && !m.matched && m.pattern != nil; {
		n := bytes.IndexByte(rest, '\n') + 1
		if n == 0 {
			n = len(rest)
		}
		m.line = append(m.line, rest[:n]...)
		rest = rest[n:]
		if len(m.line) > maxLine {
			m.line = append(m.line[:0], m.line[len(m.line)-maxLine:]...)
		}
		m.matched = m.pattern.Match(bytes.TrimSuffix(m.line, []byte("\n")))
		if m.line[len(m.line)-1] == '\n' {
			m.line = m.line[:0]
		}
		if m.matched {
			m.found()
		}
	}
	return len(p), nil
}
