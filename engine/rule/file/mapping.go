package file

import (
	"slices"
	"strconv"

	"go.yaml.in/yaml/v4"
)

// Mapping is a mapping as written. What is not written is nil.
type Mapping struct {
	// Allow are the warnings that are meant.
	Allow                  *Allow
	Name                   *Passage
	Preset, Stream         *Passage
	When, Each             *Passage
	Map                    []Declaration
	Customer, As, Mail     *Passage
	Key                    *Passage
	Nulls, Tombstone, Zone *Passage
	Strict                 *Passage
	NotIDs                 []*Passage
}

var mappingWords = words{known: []string{
	"preset", "stream", "when", "each", "map", "customer_id", "as", "mail", "key", "nulls", "tombstone", "zone", "strict", "not_ids",
}}

// mappings reads the mappings of a file.
func (r *reader) mappings(n *yaml.Node) {
	s, ok := r.section(n, "mappings", words{any: true})
	if !ok {
		return
	}
	for _, name := range s.order {
		if !NameForm.MatchString(name.Text) {
			r.FailHint(name, "use letters, digits and _", "%s is not a valid name", strconv.Quote(name.Text))
			continue
		}
		i := slices.IndexFunc(r.doc.Mappings, func(m Mapping) bool { return m.Name.Text == name.Text })
		if i >= 0 {
			r.Fail(name, "the mapping %q is already defined in %s", name.Text, Where(r.doc.Mappings[i].Name))
			continue
		}
		r.mapping(name, s.vals[name.Text])
	}
}

func (r *reader) mapping(name *Passage, n *yaml.Node) {
	s, ok := r.section(n, "mapping "+strconv.Quote(name.Text), mappingWords)
	if !ok {
		return
	}
	m := Mapping{
		Name: name, Preset: r.scalar(s, "preset"), Stream: r.scalar(s, "stream"),
		When: r.scalar(s, "when"), Each: r.scalar(s, "each"),
		Customer: r.scalar(s, "customer_id"), As: r.scalar(s, "as"), Mail: r.scalar(s, "mail"), Key: r.scalar(s, "key"),
		Nulls: r.choice(s, "nulls", "clear", "keep"), Tombstone: r.choice(s, "tombstone", "erase", "ignore"),
		Zone: r.scalar(s, "zone"), Strict: r.choice(s, "strict", "true", "false"),
	}
	if l := s.vals["not_ids"]; l != nil {
		m.NotIDs = r.texts(l, "not_ids")
	}
	if m.Zone != nil && !IsZone(r.zones, m.Zone.Text) {
		r.FailHint(m.Zone, "write an IANA name such as Europe/Paris", "unknown time zone %s", strconv.Quote(m.Zone.Text))
	}
	if fields := s.vals["map"]; fields != nil {
		if f, ok := r.section(fields, "map", words{any: true}); ok {
			for _, key := range f.order {
				if text := r.scalar(f, key.Text); text != nil {
					m.Map = append(m.Map, Declaration{key, text, r.all})
				}
			}
		}
	}
	m.Allow = r.all
	r.doc.Mappings = append(r.doc.Mappings, m)
}

// choice is scalar for a key that has one of a few values.
func (r *reader) choice(s *section, key string, values ...string) *Passage {
	p := r.scalar(s, key)
	if p != nil && !slices.Contains(values, p.Text) {
		r.FailHint(p, OneOf(values), "%s cannot be %s", key, strconv.Quote(p.Text))
		return nil
	}
	return p
}
