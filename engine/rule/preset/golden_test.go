package preset_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/engine/rule/preset"
	"github.com/segmill/segmill/schemas"
)

var update = flag.Bool("update", false, "write the golden files")

// TestGolden: what each preset makes of records of the vendor's shape. A case is a file of
// records, one JSON value after the other, in testdata/NAME.
func TestGolden(t *testing.T) {
	for _, name := range preset.Names() {
		folder := filepath.Join("testdata", strings.Replace(name, "/", "-", 1))
		cases, err := filepath.Glob(filepath.Join(folder, "*.json"))
		if err != nil || len(cases) == 0 {
			if parts, _ := preset.Find(name); len(parts[0].Map) > 0 {
				t.Errorf("%s has no cases: %v", name, err)
			}
			continue // read without a map
		}
		t.Run(name, func(t *testing.T) {
			for _, path := range cases {
				golden(t, path, made(t, name, path))
			}
		})
	}
}

func golden(t *testing.T, path, got string) {
	path = strings.TrimSuffix(path, ".json") + ".golden"
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

// made returns what the preset makes of the records of a file: with the customer that its
// error shows, and a case of guests by their mail address as well.
func made(t *testing.T, name, path string) string {
	var b strings.Builder
	parts, _ := preset.Find(name)
	first := &parts[0]
	if first.Customer == nil {
		run(t, &b, name, "", path)
		return b.String()
	}
	// One customer_id is written for all parts of a preset, and one example shown.
	for i := range parts {
		if p := &parts[i]; p.Customer.Text != first.Customer.Text || p.Mail.Text != first.Mail.Text {
			t.Errorf("%s: %s names the customer otherwise than %s", name, p.Name.Text, first.Name.Text)
		}
	}
	example, err := json.Marshal(first.Customer.Text)
	if err != nil {
		t.Fatal(err)
	}
	run(t, &b, name, ", customer_id: "+string(example), path)
	if strings.Contains(path, "guest") {
		run(t, &b, name, ", as: mail", path)
	}
	return b.String()
}

// run reads the records of a file through a reader, and writes what became of each.
func run(t *testing.T, w io.Writer, name, who, path string) {
	if who != "" {
		fmt.Fprintf(w, "# %s\n", strings.TrimPrefix(who, ", "))
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	r := reader(t, fmt.Sprintf("{preset: %s%s}", name, who), func(n *schemas.Note) {
		if n.Kind != schemas.NoteSkipped {
			fmt.Fprintf(w, "  note %s %s\n", n.Field, strings.TrimSpace(string(n.Cause)+" "+n.Detail))
		}
	})
	dec := json.NewDecoder(bytes.NewReader(b))
	for i := 1; ; i++ {
		var value json.RawMessage
		if err := dec.Decode(&value); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%s: record %d: %v", path, i, err)
		}
		fmt.Fprintf(w, "record %d\n", i)
		// Kafka's time is later than any of the events, so none is from the future.
		rec := &schemas.Record{Topic: "in", Offset: int64(i), Time: 1_788_000_000_000, Value: value}
		outcome(w, r, rec, seen)
	}
}

// outcome writes what became of a record. An event whose id was seen before is a duplicate.
func outcome(w io.Writer, r *schemas.Reader, rec *schemas.Record, seen map[string]bool) {
	var ev engine.Event
	result, err := r.Read(rec, &ev)
	switch {
	case err != nil:
		fmt.Fprintf(w, "  refused %v\n", err)
	case result == schemas.IsSkipped:
		fmt.Fprintln(w, "  skipped")
	}
	events := append([]engine.Event{ev}, rec.More.Events...)
	for i, made := range rec.More.Texts {
		mark := ""
		if id := fmt.Sprint(events[i].Stream) + " " + events[i].Source + " " + events[i].ID; seen[id] {
			mark = "duplicate "
		} else {
			seen[id] = true
		}
		fmt.Fprintf(w, "  %s%s %s\n", mark, made.Mapping, made.JSON)
	}
	for _, e := range rec.More.Refused {
		fmt.Fprintf(w, "  refused %v\n", e)
	}
}

func zones(name string) (*time.Location, bool) {
	z, err := time.LoadLocation(name)
	return z, err == nil
}

// reader returns a reader of the topic in by a mapping, which reads every field, so that
// one that is refused is noted.
func reader(t *testing.T, mapping string, noted func(*schemas.Note)) *schemas.Reader {
	text := "version: 1\nmappings:\n  in: " + mapping + "\n"
	set, err := rule.Parse([]rule.File{{Name: "rules.yaml", Data: []byte(text)}}, schemas.Catalog(), nil, zones)
	if err != nil {
		t.Fatal(err)
	}
	var l []*plan.Mapping
	for i := range set.Spec.Mappings {
		l = append(l, &set.Spec.Mappings[i])
	}
	r, err := schemas.NewReader(schemas.Config{
		Layouts: layout, Mappings: map[string][]*plan.Mapping{"in": l}, Locations: zones,
		Noted: func(_ string, n *schemas.Note) { noted(n) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// layout is all fields of a stream, in order of name, but for what is in its maps.
func layout(s plan.Stream) *plan.Layout {
	l := &plan.Layout{Stream: s}
	for _, f := range schemas.Catalog().Fields[s] {
		if !f.Type.Map {
			l.Paths = append(l.Paths, f.Name)
		}
	}
	slices.Sort(l.Paths)
	return l
}
