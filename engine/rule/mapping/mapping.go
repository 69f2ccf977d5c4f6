// Package mapping reads the mappings of rule files: what the records of a topic mean, in
// CEL over the parts of a record, by themselves or with a preset that knows a vendor's
// records.
//
// Its one rule: whatever can be wrong before the first record comes is an error in the
// file, with place and remedy. What a record then lacks is the record's matter.
package mapping

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule/file"
	"github.com/segmill/segmill/engine/rule/language"
)

// Sources are what mappings are checked against.
type Sources struct {
	// Preset gives the mappings of a preset by its name, such as shopify/orders@1, as they
	// are written in it; Presets are the names of all.
	Preset  func(name string) ([]file.Mapping, bool)
	Presets []string
	Stream  func(name string) (plan.Stream, bool)
	// Streams are the names of all streams, for errors.
	Streams []string
	// Field reports whether a stream has a field, and Fields lists them.
	Field  func(stream, name string) bool
	Fields func(stream string) []string
	// Members are what the elements of a field that is a list of objects can have, nil of
	// any other.
	Members func(stream, name string) []string
}

// compiler reads mappings.
type compiler struct {
	*file.Log
	Sources
	lang *language.Documents
}

// Compile returns the mappings of a document in order of name. Problems go to l.
func Compile(l []file.Mapping, s Sources, log *file.Log) (out []plan.Mapping) {
	if len(l) == 0 {
		return nil
	}
	c := &compiler{log, s, language.NewDocuments()}
	for i := range l {
		out = append(out, c.one(&l[i])...)
	}
	slices.SortFunc(out, func(a, b plan.Mapping) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// one returns what a mapping is, several if it names a preset for several streams.
func (c *compiler) one(m *file.Mapping) []plan.Mapping {
	if m.Preset != nil {
		return c.preset(m)
	}
	if m.As != nil || m.Mail != nil {
		c.FailHint(m.Name, "give customer_id under map", "as and mail are for presets")
		return nil
	}
	return c.plain(m, m.Name.Text)
}

// plain reads a mapping that says all itself.
func (c *compiler) plain(m *file.Mapping, name string) []plan.Mapping {
	if m.Stream == nil {
		c.FailHint(m.Name, "add stream: "+file.OneOf(c.Streams), "the mapping %q has no stream", m.Name.Text)
		return nil
	}
	stream, ok := c.Stream(m.Stream.Text)
	if !ok {
		c.FailHint(m.Stream, file.DidYouMean(m.Stream.Text, c.Streams)+"; a stream of your own is declared under streams", "no stream %s", strconv.Quote(m.Stream.Text))
		return nil
	}
	out := plan.Mapping{Name: name, Stream: stream, ClearNulls: is(m.Nulls, "clear"), Erase: is(m.Tombstone, "erase"), Strict: is(m.Strict, "true")}
	if m.Zone != nil {
		out.Zone = m.Zone.Text
	}
	for _, p := range m.NotIDs {
		out.NotIDs = append(out.NotIDs, p.Text)
	}
	names := []string{"msg", "key", "headers", "record"}
	if m.Each != nil {
		out.Each = c.read(m.Each, names)
		names = plan.DocumentNames
	}
	out.When = c.read(m.When, names)
	out.Key = c.read(m.Key, []string{"key", "headers", "record"})
	if len(m.Map) == 0 {
		c.canonical(m, out.Stream == plan.Profile)
		return []plan.Mapping{out}
	}
	for _, d := range m.Map {
		if !c.Field(m.Stream.Text, d.Name.Text) {
			c.FailHint(d.Name, c.fieldHint(d.Name.Text, m.Stream.Text), "%s has no field %s", m.Stream.Text, strconv.Quote(d.Name.Text))
			continue
		}
		of := members{d.Name.Text, c.Members(m.Stream.Text, d.Name.Text)}
		if e := c.readOf(d.Text, names, of); e != nil {
			out.Fields = append(out.Fields, plan.MappedField{Name: d.Name.Text, Is: e})
		}
	}
	c.vital(m)
	return []plan.Mapping{out}
}

// is reports whether a word is written, and is that one.
func is(p *file.Passage, word string) bool { return p != nil && p.Text == word }

// fieldHint says how an unknown field comes to be known.
func (c *compiler) fieldHint(name, stream string) string {
	hint := file.Meant(name, c.Fields(stream))
	if hint != "" {
		hint += "; otherwise "
	}
	hint += "declare it: fields: {" + stream + ": {" + name + ": text}}"
	for _, extra := range []string{"attributes", "traits"} {
		if c.Field(stream, extra) {
			return hint + ", or map " + extra + `: {"` + name + `": …}`
		}
	}
	return hint
}

// canonical checks a mapping that has no fields: its records are events already.
// erases says that a record without a value erases somebody, as on the stream of profiles.
func (c *compiler) canonical(m *file.Mapping, erases bool) {
	for _, p := range []*file.Passage{m.Nulls, m.Key} {
		if p != nil {
			c.FailHint(p, "remove it, or add map", "without a map, records are read as events with the names of the schema, where this says nothing")
		}
	}
	if t := m.Tombstone; t != nil && is(t, "erase") != erases {
		c.FailHint(t, "remove it, or add map", "without a map, a record without a value erases the customer on the stream profile, and is refused on others")
	}
	for _, p := range []*file.Passage{m.When, m.Each, m.Customer} {
		if p != nil {
			c.FailHint(p, "add map: the fields of the event, at least event_id, occurred_at and customer_id", "this needs a map; without one, records are read as events with the names of the schema")
		}
	}
}

// vital checks that an event has what no event can be without.
func (c *compiler) vital(m *file.Mapping) {
	of := func(name string) *file.Passage {
		for _, d := range m.Map {
			if d.Name.Text == name {
				return d.Text
			}
		}
		return nil
	}
	if m.Customer != nil {
		c.FailHint(m.Customer, "write it under map", "customer_id at this place is for presets")
	}
	id := of("event_id")
	if id == nil {
		c.FailHint(m.Name, "add event_id under map, for example event_id: msg.id: an id that is the same when the record comes again", "the mapping %q gives events no event_id", m.Name.Text)
	} else if m.Each != nil && !itIn.MatchString(id.Text) {
		c.FailHint(id, "for example id(msg.id, it.id)", "all elements of each would have the same event_id, so only one would count")
	}
	if of("occurred_at") == nil {
		c.FailHint(m.Name, "add occurred_at under map: when it happened; record.time is when the record was written", "the mapping %q gives events no occurred_at", m.Name.Text)
	}
	if of("customer_id") == nil && of("anonymous_id") == nil {
		c.FailHint(m.Name, "add customer_id under map, for example customer_id: msg.customer.id, or customer_id: key", "the mapping %q gives events no customer_id", m.Name.Text)
	}
	if m.Key != nil && !is(m.Tombstone, "erase") {
		c.FailHint(m.Key, "add tombstone: erase, or read key under map", "key says whom a record without a value erases, and this mapping ignores such records")
	}
}

// itIn finds the variable of each in an expression.
var itIn = regexp.MustCompile(`(^|[^.\w"'])it($|[^\w"'])`)

// preset returns the mappings of a preset, with what is written beside its name.
func (c *compiler) preset(m *file.Mapping) (out []plan.Mapping) {
	parts, ok := c.Preset(m.Preset.Text)
	if !ok {
		c.FailHint(m.Preset, file.DidYouMean(m.Preset.Text, c.Presets), "no preset %s", strconv.Quote(m.Preset.Text))
		return nil
	}
	for _, p := range []*file.Passage{m.Stream, m.When, m.Each, m.Mail} {
		if p != nil {
			c.FailHint(p, "leave it out, or write a mapping of your own", "the preset says this itself")
		}
	}
	if len(m.Map) > 0 {
		c.FailHint(m.Map[0].Name, "leave it out, or write a mapping of your own", "the preset has a map of its own")
	}
	for i := range parts {
		p := c.fill(&parts[i], m)
		if p == nil {
			return nil
		}
		name := m.Name.Text
		if len(parts) > 1 {
			name += "/" + parts[i].Name.Text
		}
		out = append(out, c.plain(p, name)...)
	}
	return out
}

// fill returns a part of a preset with what a mapping says beside the preset's name; nil
// after an error.
func (c *compiler) fill(part, m *file.Mapping) *file.Mapping {
	p := *part
	p.Name, p.Map, p.Mail = m.Name, slices.Clone(part.Map), nil
	for _, o := range []struct{ to, by **file.Passage }{
		{&p.Key, &m.Key}, {&p.Nulls, &m.Nulls}, {&p.Tombstone, &m.Tombstone}, {&p.Zone, &m.Zone}, {&p.Strict, &m.Strict},
	} {
		if *o.by != nil {
			*o.to = *o.by
		}
	}
	if m.NotIDs != nil {
		p.NotIDs = m.NotIDs
	}
	has := func(name string) bool {
		return slices.ContainsFunc(p.Map, func(d file.Declaration) bool { return d.Name.Text == name })
	}
	switch {
	case len(p.Map) == 0: // of a vendor whose messages are read without a map
		if m.Customer != nil || m.As != nil {
			c.FailHint(m.Preset, "leave it out", "the preset reads the customer as the vendor names it")
			return nil
		}
	case m.Customer != nil && m.As != nil:
		c.FailHint(m.As, "remove one of them", "there are both customer_id and as")
		return nil
	case m.Customer != nil:
		p.Map = slices.DeleteFunc(p.Map, func(d file.Declaration) bool { return d.Name.Text == "customer_id" || d.Name.Text == "anonymous_id" })
		p.Map = append(p.Map, file.Declaration{Name: file.Named("customer_id"), Text: m.Customer})
	case m.As != nil:
		if m.As.Text != "mail" || part.Mail == nil {
			c.FailHint(m.As, "give customer_id instead", "this preset has nobody as %s", strconv.Quote(m.As.Text))
			return nil
		}
		defer c.Allowing(c.Allowing(m.Allow))
		c.Warn(m.As, file.UnlinkedIdentity.Hint("identities are not linked yet: give customer_id where you know it"), "events of %s are those of mail:<address>, who is another customer than the one with your own id", m.Name.Text)
		p.Map = append(p.Map, file.Declaration{Name: file.Named("customer_id"), Text: part.Mail})
	case !has("customer_id") && !has("anonymous_id"):
		hint := "for example customer_id: msg.customer.id"
		if part.Customer != nil {
			hint = "for example customer_id: " + part.Customer.Text
		}
		if part.Mail != nil {
			hint += "; or as: mail"
		}
		c.FailHint(m.Preset, hint, "%s does not say who your customers are: add customer_id", m.Preset.Text)
		return nil
	}
	p.Customer = nil
	return &p
}
