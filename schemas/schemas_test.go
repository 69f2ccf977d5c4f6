package schemas

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/linkedin/goavro/v2"
	twmb "github.com/twmb/avro"

	"github.com/segmill/segmill/schemas/avro"
)

// Every schema of ours passes the gate, which asks goavro, and parses in
// twmb/avro, which is stricter.
func TestSchemasParse(t *testing.T) {
	for _, name := range Names() {
		text := mustText(t, name)
		if _, err := avro.Gate(text); err != nil {
			t.Errorf("%s: gate: %v", name, err)
		}
		if _, err := goavro.NewCodec(text); err != nil {
			t.Errorf("%s: goavro: %v", name, err)
		}
		if _, err := twmb.Parse(text); err != nil {
			t.Errorf("%s: twmb/avro: %v", name, err)
		}
	}
	if _, err := Text("nosuch"); err == nil {
		t.Error("there is a schema nosuch")
	}
}

// Every record and field has a doc, every optional field is null by default, and
// every enum has the default "unknown", so that symbols can be added.
func TestSchemasFollowTheConventions(t *testing.T) {
	for _, name := range Names() {
		var v any
		if err := json.Unmarshal([]byte(mustText(t, name)), &v); err != nil {
			t.Fatal(err)
		}
		for _, fault := range conventionFaults(v) {
			t.Errorf("%s: %s", name, fault)
		}
	}
	faulty := `{"type":"record","name":"R","namespace":"n","fields":[
		{"name":"a","type":{"type":"enum","name":"E","symbols":["x"]},"doc":"Short."},
		{"name":"b","type":["null","string"],"doc":"No default."},
		{"name":"c","type":["string","null"]}]}`
	var v any
	if err := json.Unmarshal([]byte(faulty), &v); err != nil {
		t.Fatal(err)
	}
	if l := conventionFaults(v); len(l) != 5 {
		t.Errorf("of 5 faults these are found: %q", l)
	}
}

func conventionFaults(v any) (faults []string) {
	o, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	switch o["type"] {
	case "enum":
		syms, _ := o["symbols"].([]any)
		if o["default"] != "unknown" || len(syms) == 0 || syms[0] != "unknown" {
			faults = append(faults, "an enum without default unknown")
		}
	case "record":
		if doc, _ := o["doc"].(string); !strings.HasSuffix(doc, ".") {
			faults = append(faults, "a record without doc")
		}
	case "array":
		faults = append(faults, conventionFaults(o["items"])...)
	}
	fields, _ := o["fields"].([]any)
	for _, x := range fields {
		f := x.(map[string]any)
		name := f["name"].(string)
		if doc, _ := f["doc"].(string); !strings.HasSuffix(doc, ".") {
			faults = append(faults, name+" has no doc")
		}
		if u, ok := f["type"].([]any); ok {
			def, has := f["default"]
			if len(u) != 2 || u[0] != "null" || !has || def != nil {
				faults = append(faults, name+" is no optional field with default null")
			}
			continue
		}
		faults = append(faults, conventionFaults(f["type"])...)
	}
	return faults
}

// compatible reports whether a schema may follow those before it. Inputs are read
// for as long as topics keep them, so the new reads all old ones; outputs are
// read by programs that we do not know, so the old read the new ones too.
func compatible(text string, before []string, output bool) error {
	now, err := twmb.Parse(text)
	if err != nil {
		return err
	}
	for _, b := range before {
		old, err := twmb.Parse(b)
		if err != nil {
			return err
		}
		if err := twmb.CheckCompatibility(old, now); err != nil {
			return err
		}
		if !output {
			continue
		}
		if err := twmb.CheckCompatibility(now, old); err != nil {
			return err
		}
	}
	return nil
}

func TestSchemaHistory(t *testing.T) {
	for _, name := range Names() {
		var before []string
		for _, path := range historyFiles(name) {
			b, err := files.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			before = append(before, string(b))
		}
		text := mustText(t, name)
		if len(before) == 0 || before[len(before)-1] != text {
			t.Errorf("%s: the schema is not the last one in history/: add it as a new version", name)
		}
		if err := compatible(text, before, name == MembershipChange || name == TriggerFired); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The check of the history can fail, in both directions.
func TestSchemaHistoryNotices(t *testing.T) {
	old := mustText(t, MembershipChange)
	with := func(field string) string {
		return strings.Replace(old, `"fields": [`, `"fields": [`+field+",", 1)
	}
	for _, tt := range []struct {
		text           string
		inputs, output bool // whether it may follow
	}{
		{old, true, true},
		{with(`{"name":"x","type":["null","string"],"default":null}`), true, true},
		{with(`{"name":"x","type":"string"}`), false, false},
		{strings.Replace(old, `"erased"], "default"`, `"erased", "paused"], "default"`, 1), true, true},
		{strings.Replace(old, `"name": "sequence", "type": "long"`, `"name": "sequence", "type": "string"`, 1), false, false},
		{strings.Replace(old, `"name": "sequence", "type": "long"`, `"name": "sequence", "type": "double"`, 1), true, false},
	} {
		if err := compatible(tt.text, []string{old}, false); (err == nil) != tt.inputs {
			t.Errorf("as an input: %v", err)
		}
		if err := compatible(tt.text, []string{old}, true); (err == nil) != tt.output {
			t.Errorf("as an output: %v", err)
		}
	}
}
