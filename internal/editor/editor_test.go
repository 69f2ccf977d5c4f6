package editor

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/engine/rule/file"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/internal/ruletest"
)

// compiled returns the schemas by name.
func compiled(t *testing.T) map[string]*jsonschema.Schema {
	t.Helper()
	m := map[string]*jsonschema.Schema{}
	for _, name := range Names() {
		text, err := Schema(name)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		c := jsonschema.NewCompiler()
		if err := c.AddResource(name, doc); err != nil {
			t.Fatal(err)
		}
		if m[name], err = c.Compile(name); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// document returns what an editor makes of YAML.
func document(n *yaml.Node) any {
	switch n.Kind {
	case yaml.DocumentNode:
		return document(n.Content[0])
	case yaml.AliasNode:
		return document(n.Alias)
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			m[n.Content[i].Value] = document(n.Content[i+1])
		}
		return m
	case yaml.SequenceNode:
		l := []any{}
		for _, c := range n.Content {
			l = append(l, document(c))
		}
		return l
	default: // a scalar
	}
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!int", "!!float":
		if json.Valid([]byte(n.Value)) {
			return json.Number(n.Value)
		}
	}
	return n.Value
}

func validate(s *jsonschema.Schema, text string) error {
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(text), &n); err != nil {
		return err
	}
	if len(n.Content) == 0 {
		return nil
	}
	return s.Validate(document(&n))
}

// texts are the YAML texts of the project with their places: files, files in scripts, and
// blocks of documents.
func texts(t *testing.T) map[string]string {
	t.Helper()
	m := map[string]string{}
	fence := regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")
	err := filepath.WalkDir("../..", func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "bin"):
			return filepath.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		switch filepath.Ext(path) {
		case ".yaml", ".yml":
			m[path] = string(b)
		case ".md":
			for _, block := range fence.FindAllStringSubmatch(string(b), -1) {
				m[path+": "+strings.SplitN(block[1], "\n", 3)[0]+block[0][len(block[0])/2:]] = block[1]
			}
		case ".txtar":
			for _, f := range txtar.Parse(b).Files {
				m[path+": "+f.Name] = string(f.Data)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestAccepted: what the program accepts, its schema accepts.
func TestAccepted(t *testing.T) {
	schemas := compiled(t)
	n := map[string]int{}
	accept := func(name, place, text string) {
		n[name]++
		if err := validate(schemas[name], text); err != nil {
			t.Errorf("%s: the schema of %s refuses it: %v\n%s", place, name, err, text)
		}
	}
	for place, text := range texts(t) {
		if isRules(text) {
			accept("rules", place, text)
		}
		if isTests(place, text) {
			accept("test", place, text)
		}
		if _, err := app.ParseConfig([]byte(text), func(string) (string, bool) { return "x", true }); err == nil {
			accept("config", place, text)
		}
	}
	for name, least := range map[string]int{"rules": 60, "test": 8, "config": 8} {
		if n[name] < least {
			t.Errorf("%d texts are %s", n[name], name)
		}
	}
}

func isRules(text string) bool {
	_, err := app.CompileRules([]rule.File{{Name: "r.yaml", Data: []byte(text)}})
	return err == nil
}

// isTests reports whether a text is a test file of good form: its rules are elsewhere.
func isTests(place, text string) bool {
	var log file.Log
	ruletest.Read(rule.File{Name: "r_test.yaml", Data: []byte(text)}, &log)
	return log.Errors() == 0 && !strings.Contains(place, "errors.txtar") && !strings.Contains(place, "bad/")
}

// TestRefused: each wrong text is refused, and by the program too.
func TestRefused(t *testing.T) {
	const meta = "objective: o, owner: w, review_by: 2027-06-01"
	schemas := compiled(t)
	for _, c := range []struct{ name, text string }{
		{"rules", "segments: []"},
		{"rules", "version: 2"},
		{"rules", "version: 1\nsegment: []"},
		{"rules", "version: 1\nsegments: {a: b}"},
		{"rules", "version: 1\nsegments: [{id: a, " + meta + "}]"},
		{"rules", "version: 1\nsegments: [{id: A, " + meta + ", when: did(web)}]"},
		{"rules", "version: 1\nsegments: [{id: a, objective: o, owner: w, review_by: soon, when: did(web)}]"},
		{"rules", "version: 1\nsegments: [{id: a, objective: o, review_by: 2027-06-01, when: did(web)}]"},
		{"rules", "version: 1\nsegments: [{id: a, " + meta + ", when: did(web), then: x}]"},
		{"rules", "version: 1\nsegments: [{id: a, " + meta + ", when: did(web), expected_size: 5-25}]"},
		{"rules", "version: 1\nsegments: [{id: a, " + meta + ", when: [did(web)]}]"},
		{"rules", "version: 1\nlifecycles: [{id: a, " + meta + "}]"},
		{"rules", "version: 1\nlifecycles: [{id: a, " + meta + ", stages: []}]"},
		{"rules", "version: 1\nlifecycles: [{id: a, " + meta + ", stages: [{id: b}]}]"},
		{"rules", "version: 1\ntriggers: [{id: a}]"},
		{"rules", "version: 1\ntriggers: [{id: a, kind: cart}]"},
		{"rules", "version: 1\ntriggers: [{id: a, kind: inactivity}]"},
		{"rules", "version: 1\ntriggers: [{id: a, kind: abandoned_cart, when: did(web)}]"},
		{"rules", "version: 1\ntriggers: [{id: a, kind: abandoned_cart, reentry: twice}]"},
		{"rules", "version: 1\ndefaults: {feb_29: feb_27}"},
		{"rules", "version: 1\nfields: {profile: {city: string}}"},
		{"rules", "version: 1\nmappings: {a: {stream: web, nulls: drop}}"},
		{"test", "rules: [a.yaml]"},
		{"test", "tests: {}"},
		{"test", "tests: [{events: [], expect: none}]"},
		{"test", "tests: [{name: a, events: []}]"},
		{"test", "tests: [{name: a, expect: none}]"},
		{"test", "tests: [{name: a, events: [], expect: nothing}]"},
		{"test", "tests: [{name: a, events: [{stream: web}], expect: none}]"},
		{"test", "tests: [{name: a, events: [{at: 0s}], expect: none}]"},
		{"test", "tests: [{name: a, events: [{at: 0s, stream: web}], expect: [{segment: a, action: entered}]}]"},
		{"test", "tests: [{name: a, events: [{at: 0s, stream: web}], expect: [{at: 0s, segment: a, action: enter}]}]"},
		{"test", "tests: [{name: a, events: [], expect: none, until: 3d}]"},
		{"config", "app: shop"},
		{"config", "app: shop\nrules: [rules]\nkafka: {broker: [a]}"},
		{"config", "app: shop\nrules: rules\nkafka: {brokers: [a]}"},
		{"config", "app: shop\nrules: [rules]\nkafka: {brokers: [a]}\ngrace: soon"},
		{"config", "app: shop\nrules: [rules]\nkafka: {brokers: [a]}\noutput: {compression: zip}"},
		{"config", "app: shop\nrules: [rules]\nkafka: {brokers: [a]}\nstandby: many"},
		{"config", "app: shop\nrules: [rules]\nkafka: {brokers: [a]}\nskip_deleted: yes please"},
	} {
		if validate(schemas[c.name], c.text) == nil {
			t.Errorf("the schema of %s accepts\n%s", c.name, c.text)
		}
		if accepted(t, c.name, c.text) {
			t.Errorf("the program accepts as %s\n%s", c.name, c.text)
		}
	}
}

func accepted(t *testing.T, name, text string) bool {
	t.Helper()
	switch name {
	case "rules":
		return isRules(text)
	case "config":
		_, err := app.ParseConfig([]byte(text), os.LookupEnv)
		return err == nil
	}
	rules, err := app.CompileRules([]rule.File{{Name: "r.yaml", Data: []byte("version: 1\nsegments: [{id: a, objective: o, owner: w, review_by: 2099-01-01, when: did(web)}]")}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := ruletest.NewRules(rules.Engine, app.Zones(), app.DefaultGrace, nil)
	if err != nil {
		t.Fatal(err)
	}
	var log file.Log
	ruletest.Read(rule.File{Name: "r_test.yaml", Data: []byte(text)}, &log).Bind(r)
	return log.Errors() == 0
}

// TestDescribed: every key of rules and tests has a schema of its own.
func TestDescribed(t *testing.T) {
	for _, name := range []string{"rules", "test"} {
		text, err := Schema(name)
		if err != nil {
			t.Fatal(err)
		}
		var doc any
		if err := json.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatal(err)
		}
		walk(doc, "", func(path string, property map[string]any) {
			if len(property) == 0 && !strings.HasSuffix(path, ".kind") {
				t.Errorf("%s: %s accepts anything: describe it in editor.go", name, path)
			}
		})
	}
}

// walk visits all properties below v.
func walk(v any, path string, visit func(path string, property map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		if properties, ok := v["properties"].(map[string]any); ok {
			for key, p := range properties {
				if p, ok := p.(map[string]any); ok {
					visit(path+"."+key, p)
					walk(p, path+"."+key, visit)
				}
			}
		}
		for key, x := range v {
			if key != "properties" {
				walk(x, path, visit)
			}
		}
	case []any:
		for _, x := range v {
			walk(x, path, visit)
		}
	}
}
