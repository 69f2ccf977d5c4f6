package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
)

// version is the content hash of what decides a rule's result.
func version(parts ...string) string {
	v := newVersions()
	for _, p := range parts {
		v.add(p)
	}
	return v.version()
}

// versions are the versions of stages, each of which is decided by all before it:
// the hash goes on where that of the one before has ended.
type versions struct{ h hash.Hash }

func newVersions() versions { return versions{sha256.New()} }

func (v versions) add(part string) { fmt.Fprintf(v.h, "%d:%s", len(part), part) }

// version is that of what was added so far.
func (v versions) version() string { return hex.EncodeToString(v.h.Sum(nil)[:8]) }

// Versions returns the content hash of every segment and stage by id, of every
// trigger as "trigger:<id>", the defaults "defaults:timezone" and "defaults:feb_29", and
// what the set says of how records are read, such as "reading:rates", "reading:mapping:<name>",
// "reading:stream:<name>" and "reading:field:<stream>.<name>". Names, order and layout of
// the files do not enter.
func (p *Plan) Versions() map[string]string {
	m := map[string]string{"defaults:timezone": p.Spec.Zone, "defaults:feb_29": "feb_28"}
	if p.Spec.MarFirst {
		m["defaults:feb_29"] = "mar_1"
	}
	p.Spec.Reading.versions(m)
	for i := range p.Spec.Mappings {
		m["reading:mapping:"+p.Spec.Mappings[i].Name] = p.Spec.Mappings[i].Version(p.Spec.Streams())
	}
	p.Spec.Catalog.ownReading(m)
	for _, s := range p.Segments {
		m[s.ID] = s.Version
	}
	for _, t := range p.Triggers {
		m["trigger:"+t.ID] = t.Version
	}
	return m
}

// Was returns the ids that rules had before, by those of today, both as Versions has them.
// Whether there ever was such a rule is another matter.
func (p *Plan) Was() map[string]string {
	m := map[string]string{}
	note := func(id, was string) {
		if id != was {
			m[id] = was
		}
	}
	for i := range p.Spec.Segments {
		s := &p.Spec.Segments[i]
		note(s.ID, cmp.Or(s.Was, s.ID))
	}
	for i := range p.Spec.Lifecycles {
		l := &p.Spec.Lifecycles[i]
		for k := range l.Stages {
			s := &l.Stages[k]
			note(l.ID+"/"+s.ID, cmp.Or(l.Was, l.ID)+"/"+cmp.Or(s.Was, s.ID))
		}
	}
	for i := range p.Triggers {
		t := p.Triggers[i].Trigger
		note("trigger:"+t.ID, "trigger:"+cmp.Or(t.Was, t.ID))
	}
	return m
}
