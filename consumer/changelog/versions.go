package changelog

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/segmill/segmill/internal/wire"
)

// Versions are the content hashes of everything that decides results, by id: what
// engine.Versions returns.
type Versions struct {
	Hashes map[string]string
	// Former are the hashes of earlier rule sets under which customers may still
	// have been emitted: filled only while a rebuild is in progress.
	Former map[string]string
}

// versionsFormat is the first byte of stored Versions.
const versionsFormat = 1

var errVersions = errors.New("versions record is not readable")

// Append appends the stored form, with ids in order:
//
//	| format (1) | number of hashes | id, hash | … | number of former | id, hash | …
func (v *Versions) Append(b []byte) []byte {
	b = append(b, versionsFormat)
	for _, m := range []map[string]string{v.Hashes, v.Former} {
		b = binary.AppendUvarint(b, uint64(len(m)))
		for _, id := range slices.Sorted(maps.Keys(m)) {
			b = wire.AppendText(wire.AppendText(b, id), m[id])
		}
	}
	return b
}

// DecodeVersions reads the stored form.
func DecodeVersions(b []byte) (*Versions, error) {
	if len(b) == 0 || b[0] != versionsFormat {
		return nil, errVersions
	}
	r := wire.NewReader(b[1:])
	v := &Versions{Hashes: readTexts(&r), Former: readTexts(&r)}
	if !r.Done() {
		return nil, errVersions
	}
	return v, nil
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
	v := Versions{Hashes: hashes}
	return xxh3.Hash128(v.Append(nil)).Bytes()
}
