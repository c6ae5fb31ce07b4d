package toolspec

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
)

const ownSchema = `{"$id":"x","type":"object","properties":{"b":{"type":"string","minLength":1},"a":{"enum":["x"],"type":["string"]},"c":{"$ref":"#/d"}},"required":["b"],"d":{"e":[1]}}`

func TestStrictChangesOnlyWhatIsOptional(t *testing.T) {
	assert.Equal(t, `{"$id":"x","type":"object","properties":{"b":{"type":"string","minLength":1},"a":{"enum":["x",null],"type":["string","null"]},"c":{"anyOf":[{"$ref":"#/d"},{"type":"null"}]}},"required":["b","a","c"],"d":{"e":[1]},"additionalProperties":false}`,
		string(Strict(json.RawMessage(ownSchema))))
}

func TestWithTaskIDAddsOneProperty(t *testing.T) {
	got := string(WithTaskID(json.RawMessage(ownSchema)))
	assert.Equal(t, `{"$id":"x","type":"object","properties":{"b":{"type":"string","minLength":1},"a":{"enum":["x"],"type":["string"]},"c":{"$ref":"#/d"},"task_id":{"type":"string","description":"Name of the environment to run in. Files and processes of one are not seen in another."}},"required":["b"],"d":{"e":[1]}}`, got)
}

// What was optional must accept null afterwards, however it is described.
func TestStrictOptionalAcceptsNull(t *testing.T) {
	for in, want := range map[string]string{
		`{"type":"string"}`:                             `{"type":["string","null"]}`,
		`{"type":["string","null"]}`:                    `{"type":["string","null"]}`,
		`{"type":"integer","enum":[9007199254740993]}`:  `{"type":["integer","null"],"enum":[9007199254740993,null]}`,
		`{"type":"string","enum":["x",null]}`:           `{"type":["string","null"],"enum":["x",null]}`,
		`{"type":"string","const":"x"}`:                 `{"anyOf":[{"type":"string","const":"x"},{"type":"null"}]}`,
		`{"type":"string","allOf":[{"type":"string"}]}`: `{"anyOf":[{"type":"string","allOf":[{"type":"string"}]},{"type":"null"}]}`,
		`{"enum":["x"]}`:                                `{"anyOf":[{"enum":["x"]},{"type":"null"}]}`,
		`true`:                                          `true`,
	} {
		got := Strict(json.RawMessage(`{"properties":{"p":` + in + `}}`))
		assert.Equal(t, `{"properties":{"p":`+want+`},"required":["p"],"additionalProperties":false}`, string(got), in)
	}
}

func TestStrictKeepsRequiredWithoutProperty(t *testing.T) {
	got := Strict(json.RawMessage(`{"properties":{"a":true,"b":true},"required":["z","b"]}`))
	assert.Equal(t, `{"properties":{"a":true,"b":true},"required":["z","b","a"],"additionalProperties":false}`, string(got))
}

// A schema with other properties allowed is not strict, whatever it requires.
func TestWithTaskIDKeepsOpenSchema(t *testing.T) {
	got := WithTaskID(json.RawMessage(`{"properties":{"a":true,"b":true},"required":["a","b","z"],"additionalProperties":{"type":"string"}}`))
	assert.Equal(t, `{"properties":{"a":true,"b":true,"task_id":`+optionalTaskID+`},"required":["a","b","z"],"additionalProperties":{"type":"string"}}`, string(got))
}

const optionalTaskID = `{"type":"string","description":"Name of the environment to run in. Files and processes of one are not seen in another."}`

func TestWithTaskIDTwice(t *testing.T) {
	for _, s := range []json.RawMessage{Process(Limits{}).Schema, Strict(Process(Limits{}).Schema)} {
		once := WithTaskID(s)
		assert.Equal(t, string(once), string(WithTaskID(once)))
	}
}

func TestStrictAndWithTaskIDInEitherOrder(t *testing.T) {
	for _, s := range []json.RawMessage{
		Terminal(Limits{}).Schema, Process(Limits{}).Schema, json.RawMessage(ownSchema),
		json.RawMessage(`{}`), json.RawMessage(`{"properties":{"a":{"type":"string"}}}`),
	} {
		assert.JSONEq(t, string(Strict(WithTaskID(s))), string(WithTaskID(Strict(s))))
	}
}

func TestSchemaOfSomethingElseIsUnchanged(t *testing.T) {
	for _, s := range []string{``, `true`, `{"properties":1}`, `{"a":1,"a":2}`} {
		assert.Equal(t, s, string(Strict(json.RawMessage(s))))
		assert.Equal(t, s, string(WithTaskID(json.RawMessage(s))))
	}
}
