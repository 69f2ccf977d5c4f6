package jsonread

import (
	"github.com/segmill/segmill/schemas/bad"
	"github.com/segmill/segmill/schemas/frame"
	"github.com/segmill/segmill/schemas/jsontext"
)

// extra takes a field that the schema does not have for one of its free-form map,
// if the map itself does not have it.
func (d *Decoder) extra(fm *frame.Field, m member) *bad.Input {
	d.json.Seek(m.from)
	return d.free(fm, m.key, freely{names: 1, keep: true})
}

// maxFree is how deep objects in a free-form map have names with dots.
const maxFree = 8

// freely says where in a free-form map a value is.
type freely struct {
	names int  // how many its name has, which dots are between
	keep  bool // a value that is there already wins: what is in no object does over what is in one
}

// free reads the next value for the key of a free-form map that has its name, or for
// those below it.
func (d *Decoder) free(fm *frame.Field, name []byte, at freely) *bad.Input {
	sc := &d.json
	k := fm.Key(name)
	c := sc.Peek()
	switch {
	case k != nil && at.keep && d.frame.Vals[k.Place].Present():
	case k != nil && (c != '{' && c != '[' || !at.keep && !fm.HasBelow(k.Name)):
		return d.field(k, d.frame.Vals)
	case c == '{' && at.names < maxFree && fm.HasBelow(string(name)):
		return d.freeObject(fm, name, at.names+1)
	}
	_ = sc.Skip()
	return nil
}

// freeObject reads the members of an object in a free-form map.
func (d *Decoder) freeObject(fm *frame.Field, name []byte, names int) *bad.Input {
	sc := &d.json
	full := append(append(make([]byte, 0, 64), name...), '.')
	last := d.lastOf()
	for o, _ := sc.Object(); ; {
		key, ok, _ := sc.Key(&o)
		if !ok {
			return nil
		}
		if !last.counts(sc, key) {
			_ = sc.Skip()
			continue
		}
		if e := d.free(fm, append(full, key...), freely{names, true}); e != nil {
			return e
		}
	}
}

// lastKeys says where the value of the last of each key of an object is; nil: no object of
// the record has a key twice.
type lastKeys map[string]int

// lastOf returns it of the object that comes next.
func (d *Decoder) lastOf() (last lastKeys) {
	sc := &d.json
	if sc.Doubled() == 0 {
		return nil
	}
	sc.Peek()
	start := sc.Pos()
	last = lastKeys{}
	for o, _ := sc.Object(); ; {
		key, ok, _ := sc.Key(&o)
		if !ok {
			sc.Seek(start)
			return last
		}
		sc.Peek()
		last[string(key)] = sc.Pos()
		_ = sc.Skip()
	}
}

// counts reports whether the value that comes next, of that key, is the last one.
func (l lastKeys) counts(sc *jsontext.Scanner, key []byte) bool {
	if l == nil {
		return true
	}
	sc.Peek()
	return l[string(key)] == sc.Pos()
}

// readMap reads the keys of a map that rules read. A key in the map
// wins over a field of the same name outside of it.
func (d *Decoder) readMap(fd *frame.Field) *bad.Input {
	sc := &d.json
	last := d.lastOf()
	for o, _ := sc.Object(); ; {
		key, ok, _ := sc.Key(&o)
		if !ok {
			return nil
		}
		if !last.counts(sc, key) {
			_ = sc.Skip()
			continue
		}
		if k := fd.TypedKey(key); k != nil {
			key = d.keep(key)
			sc.Peek()
			at := sc.Pos()
			if e := d.field(k, d.frame.Vals); e != nil {
				return e
			}
			sc.Seek(at)
		}
		if e := d.free(fd, key, freely{names: 1}); e != nil {
			return e
		}
	}
}
