package schemas

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas/avro"
	"github.com/segmill/segmill/schemas/bad"
	"github.com/segmill/segmill/schemas/mapping"
)

// More is what a record is beside the event that Read returns: a record of an input with
// mappings can be several events, and some parts of it can be none.
type More struct {
	// Events are the other events, in order of time; none of them is earlier than the one
	// that Read returns.
	Events []engine.Event
	// Texts are the events as JSON with the names of our schemas: that of the event that
	// Read returns, and those of Events. Nil if the record itself is such an event.
	Texts []MappedText
	// Refused are the parts that are no events. The others are events all the same.
	Refused []*BadInput
}

// MappedText is a mapped event as JSON with the names of our schemas.
type MappedText struct {
	Mapping string // the mapping's name
	Stream  string
	Number  int // which element of the record it was made of
	JSON    []byte
}

// mapped is a mapping of an input.
type mapped struct {
	*plan.Mapping
	in       *topic
	settings *Settings
}

// mappedOf returns the mappings of a topic.
func mappedOf(cfg *Config, topic string) (l []mapped, err error) {
	for _, m := range cfg.Mappings[topic] {
		s := *settingsOf(cfg, topic)
		s.Strict, s.NotIDs = m.Strict, m.NotIDs
		if m.Zone != "" {
			zone, ok := cfg.zones()(m.Zone)
			if !ok {
				return nil, fmt.Errorf("mapping %s: unknown time zone %q", m.Name, m.Zone)
			}
			s.Zone = zone
		}
		if err := mapping.Check(m, cfg.Catalog.Table(), cfg.zones()); err != nil {
			return nil, err
		}
		l = append(l, mapped{Mapping: m, settings: &s})
	}
	return l, nil
}

// way returns how the events of the mapping are read.
func (m *mapped) way() int { return wayOf(m.settings) }

// mapped reads a record of an input that has mappings.
func (d *decoder) mapped(in *topic, rec *Record, ev *engine.Event) (Result, error) {
	if len(rec.Value) == 0 {
		return d.erasures(in, rec, ev)
	}
	value, err := d.asJSON(rec)
	if err != nil {
		return 0, err
	}
	from := mapping.Record{
		Value: value, Key: rec.Key, Topic: rec.Topic, Time: rec.Time, Headers: rec.eachHeader,
		ID: fmt.Sprintf("%s/%d/%d", rec.Topic, rec.Partition, rec.Offset),
	}
	d.told = d.told[:0]
	if e := d.runner.Begin(&from, func(n bad.Note) { d.told = append(d.told, n) }); e != nil {
		return 0, e
	}
	defer d.runner.End()
	for i := range in.mappings {
		m := &in.mappings[i]
		d.runner.Run(m.Mapping, func(p mapping.Part) { d.part(m, rec, &p) })
	}
	d.tell(rec.Topic)
	return d.several(rec, ev)
}

// eachHeader yields the headers.
func (rec *Record) eachHeader(yield func(string, []byte) bool) {
	for i := range rec.Headers {
		if !yield(rec.Headers[i].Key, rec.Headers[i].Value) {
			return
		}
	}
}

// tell passes on what there is to say of the record as a whole.
func (d *decoder) tell(topic string) {
	if d.cfg.Noted == nil || d.noted {
		return
	}
	for i := range d.told {
		d.cfg.Noted(topic, &d.told[i])
	}
	d.told = d.told[:0]
}

// part takes in what became of a part of a record.
func (d *decoder) part(m *mapped, rec *Record, p *mapping.Part) {
	switch p.Verdict {
	case mapping.Refused:
		rec.More.Refused = append(rec.More.Refused, p.Err)
	case mapping.Undecided:
		d.told = append(d.told, bad.Note{Kind: bad.Undecided, Field: m.Name, Name: m.Name, Detail: undecided(m.Mapping)})
	case mapping.Event:
		var ev engine.Event
		if e := d.text(m, rec, p.Text, &ev); e != nil {
			e.Detail += mappedFrom(m.Mapping, e.Field)
			rec.More.Refused = append(rec.More.Refused, e)
			return
		}
		rec.More.Events = append(rec.More.Events, ev)
		rec.More.Texts = append(rec.More.Texts, MappedText{m.Name, d.cfg.Catalog.Table().Name(m.Stream), p.Number, slices.Clone(p.Text)})
	case mapping.Filtered:
	}
}

// undecided says of which expression it is unknown whether it holds.
func undecided(m *plan.Mapping) string {
	if m.When == nil {
		return "each has no value: " + m.Each.Text
	}
	return "when is neither true nor false: " + m.When.Text
}

// mappedFrom says what a field was made of.
func mappedFrom(m *plan.Mapping, field string) string {
	for i := range m.Fields {
		if m.Fields[i].Name == field {
			return fmt.Sprintf("; the mapping %s has it from %s", m.Name, m.Fields[i].Is.Text)
		}
	}
	return "; made by the mapping " + m.Name
}

// text reads a mapped event.
func (d *decoder) text(m *mapped, rec *Record, text []byte, ev *engine.Event) *bad.Input {
	inFile := m.in == &d.lines
	read := func(way int) *bad.Input {
		d.frame.Begin(m.settings)
		if inFile {
			return d.line(way, text)
		}
		return d.json.Read(d.targets[way], d.targets[way][m.Stream], text)
	}
	d.key = nil
	e := read(m.way())
	if e == nil && d.frame.LacksRevenue() {
		e = read(forWorth)
	}
	if e != nil {
		return e
	}
	topic := rec.Topic
	if inFile {
		topic = d.lineOf()
	}
	if _, err := d.finish(topic, m.in, ev); err != nil {
		return asBad(err)
	}
	ev.Lag = max(0, rec.Time-ev.At)
	return nil
}

// several makes the earliest event the one that Read returns.
func (d *decoder) several(rec *Record, ev *engine.Event) (Result, error) {
	more := &rec.More
	if len(more.Events) == 0 {
		*ev = engine.Event{At: rec.Time, Fields: ev.Fields[:0]}
		if len(more.Refused) == 0 {
			return IsSkipped, nil
		}
		first := more.Refused[0]
		more.Refused = more.Refused[1:]
		return 0, first
	}
	order := make([]int, len(more.Events))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(more.Events[a].At, more.Events[b].At) })
	events, texts := make([]engine.Event, 0, len(order)), make([]MappedText, 0, len(order))
	for _, i := range order {
		events, texts = append(events, more.Events[i]), append(texts, more.Texts[i])
	}
	*ev, more.Events, more.Texts = events[0], events[1:], texts
	return IsEvent, nil
}

// forwarded reads an event that another task has mapped.
func (d *decoder) forwarded(in *topic, rec *Record, ev *engine.Event) (Result, error) {
	m := &mapped{Mapping: &plan.Mapping{Name: rec.Mapped.Mapping}, in: in, settings: in.settings}
	stream, ok := d.cfg.Catalog.Table().ByName(rec.Mapped.Stream)
	if !ok {
		return 0, bad.New(bad.Schema, "", "the record was forwarded as an event of %q, which is no stream", rec.Mapped.Stream)
	}
	m.Stream = stream
	for i := range in.mappings {
		if in.mappings[i].Name == m.Name && in.mappings[i].Stream == stream {
			m = &in.mappings[i]
		}
	}
	if e := d.text(m, rec, rec.Value, ev); e != nil {
		return 0, e
	}
	return IsEvent, nil
}

// erasures reads a record without a value: if a mapping of the input says so, it erases
// somebody.
func (d *decoder) erasures(in *topic, rec *Record, ev *engine.Event) (Result, error) {
	for i := range in.mappings {
		m := &in.mappings[i]
		if !m.Erase {
			continue
		}
		id, e := d.runner.Erases(m.Mapping, &mapping.Record{Key: rec.Key, Topic: rec.Topic, Time: rec.Time, Headers: rec.eachHeader})
		if e != nil {
			return 0, e
		}
		named := *rec
		named.Key = []byte(id)
		d.key = named.Key
		return d.erasure(&named, m.Stream, ev, m.Key == nil)
	}
	*ev = engine.Event{At: rec.Time, Fields: ev.Fields[:0]}
	return IsSkipped, nil
}

// asJSON returns the value as JSON text: Avro is written as such.
func (d *decoder) asJSON(rec *Record) ([]byte, error) {
	if rec.Value[0] != 0x00 && (len(rec.Value) < 2 || rec.Value[0] != 0xC3 || rec.Value[1] != 0x01) {
		return rec.Value, nil
	}
	w, from, err := d.writer(rec)
	if err != nil {
		return nil, err
	}
	var e *bad.Input
	if d.asText, e = avro.AppendJSON(d.asText[:0], w.Schema(), rec.Value, from, d.cfg.MaxBytes); e != nil {
		return nil, e
	}
	return d.asText, nil
}

// zones returns what knows time zones.
func (cfg *Config) zones() expr.Zones {
	if cfg.Locations != nil {
		return cfg.Locations
	}
	return utcOnly
}
