// Package mapper shows what mappings make of records: whatever is left out, skipped or refused
// is said, with the number of the record.
package mapper

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/schemas"
)

// Counts says what Map made of records.
type Counts struct {
	Records, Events, Skipped, Refused int
	// Shared are events that have the event_id of another one, whose content is another:
	// of a customer, one of them counts.
	Shared int
}

// Trial tries mappings on records.
type Trial struct {
	// Mappings are those of the topic.
	Mappings []*plan.Mapping
	Topic    string
	Rules    *app.Rules
	Now      time.Time // the time of the records
}

// PresetRules returns a rule set whose one mapping is a preset, with what is written
// beside its name (customer_id, as, zone).
func PresetRules(preset string, beside map[string]string) (*app.Rules, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\nmappings:\n  preset:\n    preset: %q\n", preset)
	for _, key := range slices.Sorted(maps.Keys(beside)) {
		fmt.Fprintf(&b, "    %s: %q\n", key, beside[key])
	}
	return app.CompileRules([]rule.File{{Name: "--preset", Data: []byte(b.String())}})
}

// Map reads JSON values, one record each, and writes the events that the mappings make of
// them: lines that replay reads. What is skipped or refused is told to say, with the number
// of the record.
func (m *Trial) Map(in io.Reader, out io.Writer, say func(record int, what string)) (n Counts, err error) {
	said := 0 // the record of the last note
	reader, err := m.reader(func(d string) { said = n.Records; say(n.Records, d) })
	if err != nil {
		return n, err
	}
	w := bufio.NewWriter(out)
	values := json.NewDecoder(bufio.NewReader(in))
	ids := sharedIDs{maphash.MakeSeed(), map[uint64]*sharedID{}}
	for {
		var value json.RawMessage
		if err := values.Decode(&value); err != nil {
			if errors.Is(err, io.EOF) {
				return n, w.Flush()
			}
			return n, errors.Join(fmt.Errorf("record %d is no JSON: %w", n.Records+1, err), w.Flush())
		}
		n.Records++
		rec := &schemas.Record{Topic: m.Topic, Value: value, Offset: int64(n.Records - 1), Time: expr.MillisOf(m.Now)}
		var ev engine.Event
		what, err := reader.Read(rec, &ev)
		if err != nil {
			n.Refused++
			say(n.Records, "refused: "+err.Error())
		} else if what == schemas.IsSkipped {
			if n.Skipped++; said != n.Records {
				say(n.Records, "skipped")
			}
		}
		for i := range rec.More.Texts {
			n.Events++
			t := &rec.More.Texts[i]
			n.Shared += ids.take(t.Stream, t.JSON)
			fmt.Fprintf(w, "{\"stream\":%q,%s\n", t.Stream, t.JSON[1:])
		}
		for _, bad := range rec.More.Refused {
			n.Refused++
			say(n.Records, "refused: "+bad.Error())
		}
	}
}

// sharedIDs finds events that share an event_id and are not the same, by hash: a file may
// hold millions.
type sharedIDs struct {
	seed maphash.Seed
	ids  map[uint64]*sharedID
}

// sharedID is what the events with one event_id of one stream and source are.
type sharedID struct {
	first  uint64 // the content of the first
	n      int
	shared bool // they are not all the same
}

// take takes an event and returns how many more share an event_id now.
func (s *sharedIDs) take(stream string, text []byte) int {
	var ev struct {
		ID     json.RawMessage `json:"event_id"`
		Source json.RawMessage `json:"source"`
	}
	if json.Unmarshal(text, &ev) != nil || ev.ID == nil {
		return 0
	}
	id := maphash.Comparable(s.seed, [3]string{stream, string(ev.Source), string(ev.ID)})
	content := maphash.Bytes(s.seed, text)
	x := s.ids[id]
	if x == nil {
		s.ids[id] = &sharedID{first: content, n: 1}
		return 0
	}
	x.n++
	switch {
	case x.shared:
		return 1
	case content != x.first:
		x.shared = true
		return x.n
	}
	return 0
}

// reader returns a reader that reads all fields, so that what is wrong with any of them is
// said.
func (m *Trial) reader(note func(string)) (*schemas.Reader, error) {
	layouts := map[plan.Stream]*plan.Layout{}
	for s, fields := range m.Rules.Set.Spec.Catalog.Fields {
		l := &plan.Layout{Stream: plan.Stream(s)}
		for _, f := range fields {
			if !f.Type.Map {
				l.Paths = append(l.Paths, f.Name)
			}
		}
		slices.Sort(l.Paths)
		layouts[plan.Stream(s)] = l
	}
	zones := app.Zones()
	return schemas.NewReader(schemas.Config{
		Layouts:   func(s plan.Stream) *plan.Layout { return layouts[s] },
		Catalog:   m.Rules.Engine.Catalog(),
		Mappings:  map[string][]*plan.Mapping{m.Topic: m.Mappings},
		Reading:   m.Rules.Set.Spec.Reading,
		Zones:     func(name string) bool { _, ok := zones(name); return ok },
		Locations: zones,
		Noted:     func(_ string, n *schemas.Note) { note(noteText(n)) },
	})
}

// noteText says what a note is.
func noteText(n *schemas.Note) string {
	switch n.Kind {
	case schemas.NoteRefused:
		return fmt.Sprintf("%s is left out (%s): %s", cmp.Or(n.Name, n.Field), n.Cause, n.Detail)
	case schemas.NoteUnknown:
		return fmt.Sprintf("%s is unknown: %s", n.Field, n.Detail)
	case schemas.NoteDerived:
		return fmt.Sprintf("revenue is derived from %s: %s", n.Field, n.Detail)
	case schemas.NoteNoRate:
		return fmt.Sprintf("amounts are left out: there is no rate of %s", n.Field)
	case schemas.NoteMixed:
		return fmt.Sprintf("amounts are in %s, and the first ones were not; defaults: {currency: …} converts them", n.Detail)
	case schemas.NoteUndecided:
		return fmt.Sprintf("the mapping %s cannot tell whether it is an event: %s", n.Field, n.Detail)
	default:
		return n.Detail
	}
}
