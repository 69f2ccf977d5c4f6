package rulelog

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/segmill/segmill/internal/wire"
)

// View is what a reader has seen of the log.
type View struct {
	// Entries are the sets that count, the oldest first.
	Entries []Entry
	// Next is the offset of the first record that has not been read.
	Next int64

	// open are sets of which the first parts have been read. They replace the newest set
	// that counts: any other is void whether or not its other parts come.
	open map[writeID]*partial
}

// Newest returns the set in force, nil if there is none.
func (v *View) Newest() *Entry {
	if len(v.Entries) == 0 {
		return nil
	}
	return &v.Entries[len(v.Entries)-1]
}

// Number returns the number of the set in force, 0 if there is none.
func (v *View) Number() uint64 { return uint64(len(v.Entries)) }

// Set returns a set by its number, nil if there is none.
func (v *View) Set(number uint64) *Entry {
	if number < 1 || number > v.Number() {
		return nil
	}
	return &v.Entries[number-1]
}

// WithContent returns the newest set with that content, nil if there never was one.
func (v *View) WithContent(content [16]byte) *Entry {
	return v.last(func(e *Entry) bool { return e.Content == content })
}

// WithVersions returns the newest set with those versions, nil if there never was one.
func (v *View) WithVersions(versions [16]byte) *Entry {
	return v.last(func(e *Entry) bool { return e.Versions == versions })
}

func (v *View) last(is func(*Entry) bool) *Entry {
	for i := range slices.Backward(v.Entries) {
		if is(&v.Entries[i]) {
			return &v.Entries[i]
		}
	}
	return nil
}

// writeID distinguishes the writings of sets: a random number.
type writeID [16]byte

// partial is a set of which parts are still to come.
type partial struct {
	next  int // part
	parts int
	data  []byte
}

// part is one record: a part of the stored form of a set, and where it belongs.
type part struct {
	id           writeID
	base         uint64
	index, count int
	data         []byte
}

// format is the first byte of a record. A reader refuses any other.
const format = 1

// ErrFormat is wrapped by the error of a record that another version has written.
var ErrFormat = errors.New("it was written by another version of segmill")

var errRecord = errors.New("the record is not readable")

// key returns the key of a record: no two are equal, so that compaction, if somebody
// switches it on, deletes nothing.
func (p *part) key() []byte {
	return strconv.AppendInt(append(hex.AppendEncode(nil, p.id[:]), '/'), int64(p.index), 10)
}

// append appends the value of a record:
//
//	| format | id (16) | base | index | count | data |
//
// Numbers are unsigned varints; the index counts from 0.
func (p *part) append(b []byte) []byte {
	b = append(append(b, format), p.id[:]...)
	b = binary.AppendUvarint(b, p.base)
	b = binary.AppendUvarint(b, uint64(p.index))
	b = binary.AppendUvarint(b, uint64(p.count))
	return append(b, p.data...)
}

// partOverhead is more than a record has beside its data, in bytes.
const partOverhead = 128

// decodePart reads the value of a record.
func decodePart(b []byte) (p part, err error) {
	switch {
	case len(b) == 0:
		return p, errRecord
	case b[0] != format:
		return p, fmt.Errorf("%w: its format is %d, and this version reads %d", ErrFormat, b[0], format)
	}
	r := wire.NewReader(b[1:])
	copy(p.id[:], r.Take(len(p.id)))
	p.base, p.index, p.count = r.Uvarint(), int(r.UvarintTo(maxParts)), int(r.UvarintTo(maxParts))
	r.Check(p.index < p.count)
	if r.Bad() {
		return p, errRecord
	}
	p.data = r.Left()
	return p, nil
}

// split returns the parts of a set.
func split(id writeID, base uint64, stored []byte) (l []part) {
	chunks := slices.Collect(slices.Chunk(stored, maxRecord-partOverhead))
	for i, data := range chunks {
		l = append(l, part{id: id, base: base, index: i, count: len(chunks), data: data})
	}
	return l
}

// take takes the value of the next record, and returns the set that counts with it, nil if
// none does.
func (v *View) take(offset int64, value []byte) (*Entry, error) {
	p, err := decodePart(value)
	if err != nil {
		return nil, err
	}
	v.Next = offset + 1
	if p.base != v.Number() {
		return nil, nil //nolint:nilnil // void: others were faster
	}
	stored, whole := v.add(&p)
	if !whole {
		return nil, nil //nolint:nilnil // more is to come
	}
	e, err := decodeEntry(stored)
	if err != nil {
		return nil, err
	}
	e.Number, e.Base, e.Offset, e.id = p.base+1, p.base, offset, p.id
	v.Entries = append(v.Entries, *e)
	v.open = nil
	return v.Newest(), nil
}

// add adds a part to those before it, and returns the set once it is whole. A set with a gap
// never is: its writer has not written all of it.
func (v *View) add(p *part) (stored []byte, whole bool) {
	if p.index == 0 && v.open[p.id] == nil {
		if v.open == nil {
			v.open = map[writeID]*partial{}
		}
		v.open[p.id] = &partial{parts: p.count}
	}
	o := v.open[p.id]
	if o == nil || p.index != o.next || p.count != o.parts {
		return nil, false
	}
	o.data = append(o.data, p.data...)
	o.next++
	return o.data, o.next == o.parts
}

// String says which set it is, who wrote it and when.
func (e *Entry) String() string {
	text := fmt.Sprintf("set %d by %s at %s", e.Number, e.Who, e.At)
	if e.Why != "" {
		text += " (" + e.Why + ")"
	}
	return text
}
