// Library: functions, linked with what they need.

package shellscript

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A Library is a set of shell functions. A shell takes milliseconds to parse
// all functions of a large one, so a script is linked with those it needs.
type Library struct {
	functions map[string]string   // name to definition, minified
	needs     map[string][]string // name to the functions it names
}

// Parse returns the library of all functions in sources. Their names must match
// prefix, a regular expression such as `job_`, and nothing else in the sources
// may: so a word that matches and is not a function is an unresolved reference.
//
// A function is written as
//
//	name() {
//		…
//	}
//
// with both name and closing brace at the start of a line, or on one line.
// Between functions only comments and blank lines may stand. Parse returns an
// error for anything else, for a function that is defined twice, and for a
// reference that it cannot resolve.
func Parse(prefix string, sources ...string) (*Library, error) {
	l := &Library{functions: make(map[string]string), needs: make(map[string][]string)}
	for _, source := range sources {
		if err := l.add(source); err != nil {
			return nil, err
		}
	}
	word := regexp.MustCompile(`\b(` + prefix + `)\w+`)
	for name, text := range l.functions {
		if !word.MatchString(name) {
			return nil, fmt.Errorf("function %s: name does not match %s", name, prefix)
		}
		for _, needed := range word.FindAllString(text, -1) {
			if l.functions[needed] == "" {
				return nil, fmt.Errorf("function %s: no function %s", name, needed)
			}
			if needed != name && !slices.Contains(l.needs[name], needed) {
				l.needs[name] = append(l.needs[name], needed)
			}
		}
	}
	return l, nil
}

var (
	functionStart = regexp.MustCompile(`^(\w+)\(\) \{\n$`)
	functionLine  = regexp.MustCompile(`^(\w+)\(\) \{ .* \}\n$`)
)

// add parses one source. It looks at the lines as they are written, because the
// indentation tells the end of a function from that of a group in it.
func (l *Library) add(source string) error {
	name := ""
	var body strings.Builder
	for line := range strings.Lines(source) {
		text := Minify(line)
		switch {
		case name == "" && text == "":
		case name == "" && functionLine.MatchString(line):
			if err := l.define(functionLine.FindStringSubmatch(line)[1], line); err != nil {
				return err
			}
		case name == "" && functionStart.MatchString(line):
			name = functionStart.FindStringSubmatch(line)[1]
			body.Reset()
			body.WriteString(text)
		case name == "":
			return fmt.Errorf("line %q: is outside of a function", strings.TrimSpace(line))
		case line == "}\n":
			body.WriteString(text)
			if err := l.define(name, body.String()); err != nil {
				return err
			}
			name = ""
		default:
			body.WriteString(text)
		}
	}
	if name != "" {
		return fmt.Errorf("function %s: has no closing brace at the start of a line", name)
	}
	return nil
}

func (l *Library) define(name, text string) error {
	if l.functions[name] != "" {
		return fmt.Errorf("function %s: is defined twice", name)
	}
	l.functions[name] = text
	return nil
}

// Names returns the names of all functions, sorted.
func (l *Library) Names() []string {
	var names []string
	for name := range l.functions {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Link returns the definitions of the named functions and of all that they
// need. It panics if there is no function of such a name, which is a mistake in
// the calling package; a test of that package links all names that it uses.
func (l *Library) Link(names ...string) string {
	linked := slices.Clone(names)
	var b strings.Builder
	for i := 0; i < len(linked); i++ {
		text := l.functions[linked[i]]
		if text == "" {
			panic("shellscript: no function " + linked[i])
		}
		b.WriteString(text)
		for _, needed := range l.needs[linked[i]] {
			if !slices.Contains(linked, needed) {
				linked = append(linked, needed)
			}
		}
	}
	return b.String()
}
