package plan

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"

	"github.com/segmill/segmill/engine/expr"
)

// Rule files may declare more fields of the built-in streams, and streams of their own.
// Numbers of such streams depend on the rule set; what is kept of their events has the
// hash of the name instead, see [StreamInfo.Key].

// StreamForm is what a name of a declared stream looks like.
var StreamForm = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// MaxOwnStreams is how many streams a rule set can declare.
const MaxOwnStreams = 100

// ownTypes are the types that fields may be declared with, in the order of the
// reference.
var ownTypes = []struct {
	word string
	typ  expr.Type
}{
	{"text", expr.Type{Kind: expr.String}},
	{"number", expr.Type{Kind: expr.Decimal}},
	{"money", expr.Type{Kind: expr.Decimal}},
	{"date", expr.Type{Kind: expr.Date}},
	{"time", expr.Type{Kind: expr.Time}},
	{"truth", expr.Type{Kind: expr.Bool}},
	{"list", expr.Type{Kind: expr.List, Elem: &expr.Type{Kind: expr.String}}},
}

// OwnTypes lists the words for the types of declared fields.
func OwnTypes() (l []string) {
	for i := range ownTypes {
		l = append(l, ownTypes[i].word)
	}
	return l
}

// OwnType returns the type that a word declares, false if it is none.
func OwnType(word string) (expr.Type, bool) {
	for i := range ownTypes {
		if ownTypes[i].word == word {
			t := ownTypes[i].typ
			t.Own, t.Optional = word, true
			return t, true
		}
	}
	return expr.Type{}, false
}

// OwnField declares a field of a stream, of a type as [OwnType] returns it.
type OwnField struct {
	Stream string
	Name   string
	Type   expr.Type
}

// OwnStream declares a stream. Activity says that its events show that the customer is
// active, unless the rule files say otherwise.
type OwnStream struct {
	Name     string
	Activity bool
}

// With returns c with streams and fields added, which have names that are free. It does
// not depend on their order.
func (c *Catalog) With(streams []OwnStream, fields []OwnField) *Catalog {
	if len(streams) == 0 && len(fields) == 0 {
		return c
	}
	streams = slices.SortedFunc(slices.Values(streams), func(a, b OwnStream) int { return cmp.Compare(a.Name, b.Name) })
	fields = slices.SortedFunc(slices.Values(fields), func(a, b OwnField) int { return cmp.Compare(a.Name, b.Name) })
	out := &Catalog{Streams: &Streams{}, Fields: slices.Clone(c.Fields)}
	for _, s := range streams {
		out.Streams.own = append(out.Streams.own, StreamInfo{
			Name: s.Name, Schema: builtin[Web].Schema, Own: true, Key: streamKey(s.Name), Dedup: day, Frequent: true, Idle: !s.Activity,
		})
		out.Fields = append(out.Fields, c.common())
	}
	for _, f := range fields {
		if s, ok := out.Streams.ByName(f.Stream); ok {
			l := out.Fields[s]
			out.Fields[s] = append(l[:len(l):len(l)], expr.Field{Name: f.Name, Type: f.Type})
		}
	}
	return out
}

// common returns the fields that every stream of events has: the head and the map that
// takes what nobody declared. They are those of the web stream.
func (c *Catalog) common() (l []expr.Field) {
	for _, f := range c.Fields[Web] {
		if slices.Contains(CommonFields, f.Name) {
			l = append(l, f)
		}
	}
	return l
}

// CommonFields are the names of the fields that every stream of events has.
var CommonFields = []string{"event_id", "customer_id", "anonymous_id", "occurred_at", "received_at", "source", "attributes"}

// distinct returns an error if the ids of events of two streams would be kept under one hash.
func (t *Streams) distinct() error {
	if t == nil {
		return nil
	}
	seen := map[uint32]string{}
	for i := range t.own {
		s := &t.own[i]
		if other, ok := seen[s.Key]; ok {
			return fmt.Errorf("the streams %q and %q have the same 32-bit hash: rename one of them", other, s.Name)
		}
		seen[s.Key] = s.Name
	}
	return nil
}

// TypeOf returns the type of a field of a stream, nil if it has none of that name.
func (c *Catalog) TypeOf(s Stream, field string) *expr.Type {
	if c == nil || int(s) >= len(c.Fields) {
		return nil
	}
	fields := c.Fields[s]
	if i := slices.IndexFunc(fields, func(f expr.Field) bool { return f.Name == field }); i >= 0 {
		return &fields[i].Type
	}
	return nil
}

// Table returns the table of streams; that of the built-in ones if there is no catalog.
func (c *Catalog) Table() *Streams {
	if c == nil {
		return nil
	}
	return c.Streams
}

// ownReading adds to versions what the rule set declares.
func (c *Catalog) ownReading(m map[string]string) {
	if c == nil {
		return
	}
	for s, info := range c.Streams.All() {
		if info.Own {
			m["reading:stream:"+info.Name] = "events"
			if !info.Idle {
				m["reading:stream:"+info.Name] = "activity"
			}
		}
		for _, f := range c.Fields[s] {
			if f.Type.Own != "" {
				m["reading:field:"+info.Name+"."+f.Name] = f.Type.Own
			}
		}
	}
}
