package changelog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/ruleset"
	"github.com/segmill/segmill/internal/wire"
)

// Versions are the content hashes of everything that decides results, by id: what
// engine.Versions returns.
type Versions struct {
	Hashes map[string]string
	// Former are the hashes of earlier rule sets under which customers may still
	// have been emitted: filled only while a change of rules is in progress.
	Former map[string]string
	// Kept is what customers have of the rules: their facts, and the rules under which all
	// of them were last judged. While a change is in progress it is what the sets before
	// and after it have in common, and of a rebuild, which forgets, nothing. Nil in what
	// earlier versions wrote: it is not known.
	Kept *ruleset.Set
	// Forgets says that the change in progress is a rebuild.
	Forgets bool
	// Past are the hashes (HashVersions) of rule sets that were in force before, the latest
	// last, no more than MostPast.
	Past [][16]byte
	// Number is that of the change that is in progress, or of the last one: 1, 2, 3 …, and 0
	// before the first.
	Number uint32
	// At is the instant of the differences of the change in progress.
	At engine.Millis
	// Renamed are the changes in progress in which rules were given other ids, the latest last.
	// Of rules that Former has, they say where they have gone.
	Renamed []ruleset.Renaming
}

// All returns the hashes of all rule sets under which customers may have been emitted.
func (v *Versions) All() map[string]string {
	all := maps.Clone(v.Hashes)
	maps.Copy(all, v.Former)
	return all
}

// MostPast is how many rule sets of the past are remembered.
const MostPast = 256

// Replaced returns Past when a set of these versions is replaced by another one.
func (v *Versions) Replaced(by [16]byte) [][16]byte {
	now := HashVersions(v.Hashes)
	past := slices.DeleteFunc(slices.Clone(v.Past), func(h [16]byte) bool { return h == now || h == by })
	if now != by {
		past = append(past, now)
	}
	return past[max(0, len(past)-MostPast):]
}

// The first byte of stored Versions. The first format has no Kept, and only the third has
// Renamed: it is written while there is any.
const (
	formatHashes  = 1
	formatKept    = 2
	formatRenamed = 3
)

var errVersions = errors.New("versions record is not readable")

// Append appends the stored form, with ids and keys in order:
//
//	| format | number of hashes | id, hash | … | number of former | id, hash | … |
//	| flags (1) | number of kept rules | id, hash (8) | … | number of kept facts | key (8), reach | … |
//	| number of past sets | hash (16) | … | number | at |
//	| number of renamings | mark (4, LE) | number of ids | id before, id after | … | … |
//
// The second and third lines are those of format 2, the fourth is that of format 3. Numbers and the reach, in milliseconds, are varints; at is a signed one.
func (v *Versions) Append(b []byte) []byte {
	if v.Kept == nil {
		return v.appendHashes(append(b, formatHashes))
	}
	format := byte(formatKept)
	if len(v.Renamed) > 0 {
		format = formatRenamed
	}
	b = v.appendHashes(append(b, format))
	var flags byte
	if v.Forgets {
		flags |= flagForgets
	}
	b = binary.AppendUvarint(append(b, flags), uint64(len(v.Kept.Rules)))
	for _, id := range slices.Sorted(maps.Keys(v.Kept.Rules)) {
		b = binary.BigEndian.AppendUint64(wire.AppendText(b, id), v.Kept.Rules[id])
	}
	b = binary.AppendUvarint(b, uint64(len(v.Kept.Facts)))
	for _, key := range slices.Sorted(maps.Keys(v.Kept.Facts)) {
		b = binary.AppendUvarint(binary.BigEndian.AppendUint64(b, key), uint64(v.Kept.Facts[key]))
	}
	b = binary.AppendUvarint(b, uint64(len(v.Past)))
	for _, h := range v.Past {
		b = append(b, h[:]...)
	}
	b = binary.AppendVarint(binary.AppendUvarint(b, uint64(v.Number)), int64(v.At))
	if format == formatRenamed {
		b = binary.AppendUvarint(b, uint64(len(v.Renamed)))
		for i := range v.Renamed {
			b = appendTexts(binary.LittleEndian.AppendUint32(b, v.Renamed[i].Mark), v.Renamed[i].To)
		}
	}
	return b
}

// flagForgets is set in the flags if Forgets is.
const flagForgets = 1

func (v *Versions) appendHashes(b []byte) []byte {
	return appendTexts(appendTexts(b, v.Hashes), v.Former)
}

func appendTexts(b []byte, m map[string]string) []byte {
	b = binary.AppendUvarint(b, uint64(len(m)))
	for _, id := range slices.Sorted(maps.Keys(m)) {
		b = wire.AppendText(wire.AppendText(b, id), m[id])
	}
	return b
}

// DecodeVersions reads the stored form.
func DecodeVersions(b []byte) (*Versions, error) {
	switch {
	case len(b) == 0 || b[0] < formatHashes:
		return nil, errVersions
	case b[0] > formatRenamed:
		return nil, fmt.Errorf("%w: its format is %d, and this version reads 1 to %d: use the version that wrote it, or a later one", errVersions, b[0], formatRenamed)
	}
	r := wire.NewReader(b[1:])
	v := &Versions{Hashes: readTexts(&r), Former: readTexts(&r)}
	if b[0] >= formatKept {
		flags := r.Byte()
		r.Check(flags&^flagForgets == 0)
		v.Forgets, v.Kept = flags&flagForgets != 0, readKept(&r)
		for range r.Count(len([16]byte{})) {
			var h [16]byte
			copy(h[:], r.Take(len(h)))
			v.Past = append(v.Past, h)
		}
		v.Number, v.At = uint32(r.UvarintTo(math.MaxUint32)), engine.Millis(r.Varint())
	}
	if b[0] == formatRenamed {
		for range r.Count(4 + 1) {
			v.Renamed = append(v.Renamed, ruleset.Renaming{Mark: r.Uint32(), To: readTexts(&r)})
		}
		r.Check(len(v.Renamed) > 0)
	}
	if !r.Done() {
		return nil, errVersions
	}
	return v, nil
}

func readKept(r *wire.Reader) *ruleset.Set {
	kept := &ruleset.Set{Rules: map[string]uint64{}, Facts: map[uint64]engine.Millis{}}
	n := r.Count(1 + 8)
	for range n {
		id := r.TextTo(maxName)
		kept.Rules[id] = r.Uint64BE()
	}
	m := r.Count(8 + 1)
	for range m {
		key := r.Uint64BE()
		kept.Facts[key] = engine.Millis(r.UvarintTo(math.MaxInt64))
	}
	r.Check(len(kept.Rules) == n && len(kept.Facts) == m)
	return kept
}

// readTexts reads pairs of texts, no first one twice.
func readTexts(r *wire.Reader) map[string]string {
	n := r.Count(2) // at least one byte for each length
	m := make(map[string]string)
	for range n {
		k := r.TextTo(maxName)
		m[k] = r.TextTo(maxName)
	}
	r.Check(len(m) == n)
	return m
}

// HashVersions returns what a Position says of hashes.
func HashVersions(hashes map[string]string) [16]byte {
	v := Versions{Hashes: hashes} // in the first format, so that it stays what it was
	return xxh3.Hash128(v.Append(nil)).Bytes()
}
