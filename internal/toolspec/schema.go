// JSON schemas of arguments, and changes to them.

package toolspec

import (
	"encoding/json"
	"slices"
)

// A property is one argument in a schema.
type property struct {
	Type        any      `json:"type"` // a string, or a list with "null"
	Description string   `json:"description"`
	Enum        []string `json:"enum,omitempty"`
}

// newSchema returns the schema of an object with these properties, of which one
// is required.
func newSchema(required string, properties object) json.RawMessage {
	return encode(object{}.
		set("type", "object").
		set("properties", properties).
		set("required", []string{required}).
		set("additionalProperties", false))
}

// WithTaskID returns a schema with the property task_id added. In a strict schema
// it is required and may be null. Nothing else changes. A schema that is not one
// of an object is returned as it is.
func WithTaskID(schema json.RawMessage) json.RawMessage {
	s, properties, ok := parseSchema(schema)
	if !ok {
		return schema
	}
	taskID := encode(property{
		Type: "string", Description: "Name of the environment to run in. Files and processes of one are not seen in another.",
	})
	if required := requiredNames(s); isStrict(s, properties) {
		taskID = nullable(taskID)
		if !slices.Contains(required, "task_id") {
			s = s.set("required", append(required, "task_id"))
		}
	}
	return encode(s.set("properties", properties.set("task_id", taskID)))
}

// Strict returns a schema for providers that want every property to be required
// and no others to be allowed. Properties that were optional may be null. Nothing
// else changes, and only the properties of the outermost object are looked at. A
// schema that is not one of an object is returned as it is.
func Strict(schema json.RawMessage) json.RawMessage {
	s, properties, ok := parseSchema(schema)
	if !ok {
		return schema
	}
	required := requiredNames(s)
	for i, p := range properties {
		if !slices.Contains(required, p.name) {
			properties[i].value = nullable(p.value)
			required = append(required, p.name)
		}
	}
	return encode(s.set("properties", properties).set("required", required).set("additionalProperties", false))
}

func parseSchema(schema json.RawMessage) (s, properties object, ok bool) {
	s, err := parseObject(schema)
	if err != nil {
		return nil, nil, false
	}
	if s.get("properties") == nil {
		return s, nil, true
	}
	properties, err = parseObject(s.get("properties"))
	return s, properties, err == nil
}

// requiredNames returns the names that s requires, which is not nil: JSON Schema
// wants a list and no null.
func requiredNames(s object) []string {
	names := []string{}
	_ = json.Unmarshal(s.get("required"), &names) // absent: none
	return names
}

// isStrict reports whether s is as Strict returns it: it lists all properties as
// required and allows no others.
func isStrict(s, properties object) bool {
	required := requiredNames(s)
	for _, p := range properties {
		if !slices.Contains(required, p.name) {
			return false
		}
	}
	return s.get("required") != nil && string(s.get("additionalProperties")) == "false"
}

// restrictions are the keywords beside type and enum that may exclude null.
var restrictions = []string{"const", "$ref", "allOf", "anyOf", "oneOf", "not", "if"}

// nullable returns the schema of a property with null allowed. A plain type gets
// "null" added, which every provider understands; anything else becomes one of two
// alternatives.
func nullable(value json.RawMessage) json.RawMessage {
	p, err := parseObject(value)
	if err != nil {
		return value // true allows null already
	}
	var types []string
	var one string
	if json.Unmarshal(p.get("type"), &one) == nil {
		types = []string{one}
	} else if json.Unmarshal(p.get("type"), &types) != nil {
		return alternativeNull(p)
	}
	for _, name := range restrictions {
		if p.get(name) != nil {
			return alternativeNull(p)
		}
	}
	if !slices.Contains(types, "null") {
		p = p.set("type", append(types, "null"))
	}
	var enum []json.RawMessage // raw, because a float64 would round large numbers
	isNull := func(v json.RawMessage) bool { return string(v) == "null" }
	if json.Unmarshal(p.get("enum"), &enum) == nil && !slices.ContainsFunc(enum, isNull) {
		p = p.set("enum", append(enum, json.RawMessage("null")))
	}
	return encode(p)
}

func alternativeNull(p object) json.RawMessage {
	return encode(object{}.set("anyOf", []any{p, object{}.set("type", "null")}))
}
