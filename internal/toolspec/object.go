// JSON objects whose members keep their order.

package toolspec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/terminal-go/terminal/internal/capture"
)

// An object is a JSON object with its members in the order they were written.
type object []member

type member struct {
	name  string
	value json.RawMessage
}

// parseObject parses exactly one JSON object. A name that occurs twice is an
// error, because encoding/json would silently take the last one.
func parseObject(data []byte) (object, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	if tok, err := dec.Token(); err == io.EOF {
		return nil, errors.New("empty; a JSON object is wanted")
	} else if err != nil {
		return nil, err
	} else if tok != json.Delim('{') {
		return nil, errors.New("must be a JSON object")
	}
	var o object
	seen := make(map[string]bool)
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, unexpectedEOF(err)
		}
		name, _ := tok.(string) // an object's keys are strings
		if seen[name] {
			return nil, fmt.Errorf("field %q is there twice", capture.Clip(name))
		}
		seen[name] = true
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, unexpectedEOF(err)
		}
		o = append(o, member{name, value})
	}
	if _, err := dec.Token(); err != nil {
		return nil, unexpectedEOF(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("there is something after the JSON object")
	}
	return o, nil
}

// unexpectedEOF converts io.EOF to io.ErrUnexpectedEOF.
func unexpectedEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// get returns the value of a member, or nil.
func (o object) get(name string) json.RawMessage {
	for _, m := range o {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// set returns o with the member replaced, or appended if there is none.
func (o object) set(name string, value any) object {
	i := slices.IndexFunc(o, func(m member) bool { return m.name == name })
	if i < 0 {
		return append(o, member{name, encode(value)})
	}
	o[i].value = encode(value)
	return o
}

// MarshalJSON writes the members in their order.
func (o object) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, encode(m.name)...), ':'), m.value...)
	}
	return append(b, '}'), nil
}

// encode returns the JSON of a value that this package made.
func encode(value any) json.RawMessage {
	data, err := json.Marshal(value)
	if err != nil {
		panic(err) // strings, lists and parsed JSON: a mistake in this package
	}
	return data
}
