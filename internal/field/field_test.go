package field

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/internal/replay"
	"github.com/segmill/segmill/schemas"
)

// waiting are the cases that do not give their values yet, with what they wait for. The
// test fails when one of them begins to.
var waiting = map[string]string{
	"zone_on_the_day": "an occurrence that a change of zone makes overdue fires",
}

// Every case gives what its file says.
func TestField(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d cases, %v", len(files), err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			c := parts(t, a)
			got := c.run(t)
			diff := differences(c.want, got)
			why, waits := waiting[filepath.Base(t.Name())]
			switch {
			case waits && diff == "":
				t.Errorf("the case gives its values now: take it out of the list of those that wait for %q", why)
			case waits:
				t.Skipf("waits: %s", why)
			case diff != "":
				t.Errorf("%sgot\n%s", diff, strings.Join(got, "\n"))
			}
		})
	}
}

// fieldCase is a file of testdata.
type fieldCase struct {
	rules, events string
	until, now    engine.Millis
	want          []string
}

func parts(t *testing.T, a *txtar.Archive) *fieldCase {
	t.Helper()
	c := &fieldCase{}
	for _, f := range a.Files {
		text := string(f.Data)
		switch f.Name {
		case "rules.yaml":
			c.rules = text
		case "events.jsonl":
			c.events = text
		case "until":
			for i, s := range strings.Fields(text) {
				at, err := time.Parse(time.RFC3339, s)
				if err != nil {
					t.Fatal(err)
				}
				*[]*engine.Millis{&c.until, &c.now}[i] = expr.MillisOf(at)
			}
		case "want":
			c.want = strings.Split(strings.TrimSuffix(text, "\n"), "\n")
			if text == "" {
				c.want = nil
			}
		default:
			t.Fatalf("a case has no %s", f.Name)
		}
	}
	return c
}

// run replays the events as `segmill replay` does, and returns what came of them, as
// the files have it: of a trigger with the whole message.
func (c *fieldCase) run(t *testing.T) (got []string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, []byte(c.rules), 0o600); err != nil {
		t.Fatal(err)
	}
	rules, err := app.LoadRules([]string{file})
	if err != nil {
		t.Fatal(err)
	}
	zones := app.Zones()
	reader, err := schemas.NewReader(schemas.Config{
		Catalog: rules.Engine.Catalog(), Layouts: rules.Engine.Layout,
		Zones: func(name string) bool { _, ok := zones(name); return ok },
	})
	if err != nil {
		t.Fatal(err)
	}
	enc, err := schemas.NewEncoder(schemas.JSON, "replay", schemas.IDs{})
	if err != nil {
		t.Fatal(err)
	}
	r := replay.File{
		Runner: &replay.Runner{Engine: rules.Engine, Grace: app.DefaultGrace, Emit: func(l []engine.Effect) {
			for i := range l {
				var o schemas.Output
				enc.Append(nil, &o, &l[i], 0)
				got = append(got, line(t, o.Value))
			}
		}},
		Decoder: replay.Decoder{Reader: reader}, Until: c.until, Latest: c.now + app.DefaultFutureSkew,
		Bad: func(n int, _ error) { got = append(got, fmt.Sprintf("line %d is bad", n)) },
	}
	if _, err := r.Run(strings.NewReader(c.events)); err != nil {
		t.Fatal(err)
	}
	return got
}

// line returns a message as the files have it.
func line(t *testing.T, value []byte) string {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(value, &m); err != nil {
		t.Fatal(err)
	}
	if m["trigger"] == nil {
		return fmt.Sprint(m["effective_at"], " ", m["customer_id"], " ", m["action"], " ", m["segment"])
	}
	return fmt.Sprint(m["due_at"], " ", m["customer_id"], " fired ", m["trigger"], " ", string(value))
}

// differences says which lines are missing or too many, "" if none is.
func differences(want, got []string) (diff string) {
	left := slices.Clone(got)
	for _, w := range want {
		i := slices.IndexFunc(left, func(g string) bool { return same(w, g) })
		if i < 0 {
			diff += "missing: " + w + "\n"
			continue
		}
		left = slices.Delete(left, i, i+1)
	}
	for _, g := range left {
		diff += "too many: " + g + "\n"
	}
	return diff
}

// same reports whether a line is the one that is wanted. Of the message of a trigger only
// what is wanted is looked at.
func same(want, got string) bool {
	w, payload, _ := strings.Cut(want, " {")
	g, message, _ := strings.Cut(got, " {")
	if w != g {
		return false
	}
	if payload == "" {
		return true
	}
	var part, whole any
	if json.Unmarshal([]byte("{"+payload), &part) != nil || json.Unmarshal([]byte("{"+message), &whole) != nil {
		return false
	}
	return within(part, whole)
}

// within reports whether a value is part of another.
func within(part, whole any) bool {
	switch part := part.(type) {
	case map[string]any:
		whole, ok := whole.(map[string]any)
		for k, v := range part {
			ok = ok && within(v, whole[k])
		}
		return ok
	case []any:
		whole, ok := whole.([]any)
		if ok = ok && len(part) == len(whole); !ok {
			return false
		}
		for i := range part {
			ok = ok && within(part[i], whole[i])
		}
		return ok
	}
	return part == whole
}
