package changelog

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"github.com/zeebo/xxh3"
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

const maxRules = 1 << 20

var errVersions = errors.New("versions record is not readable")

// Append appends the stored form, with ids in order:
//
//	| format (1) | number of hashes | id, hash | … | number of former | id, hash | …
func (v *Versions) Append(b []byte) []byte {
	b = append(b, versionsFormat)
	for _, m := range []map[string]string{v.Hashes, v.Former} {
		b = binary.AppendUvarint(b, uint64(len(m)))
		for _, id := range slices.Sorted(maps.Keys(m)) {
			b = appendText(appendText(b, id), m[id])
		}
	}
	return b
}

// DecodeVersions reads the stored form.
func DecodeVersions(b []byte) (*Versions, error) {
	if len(b) == 0 || b[0] != versionsFormat {
		return nil, errVersions
	}
	d := decoder{b: b[1:]}
	v := &Versions{Hashes: d.texts(), Former: d.texts()}
	if d.bad || len(d.b) != 0 {
		return nil, errVersions
	}
	return v, nil
}

// HashVersions returns what a Position says of hashes.
func HashVersions(hashes map[string]string) [16]byte {
	v := Versions{Hashes: hashes}
	return xxh3.Hash128(v.Append(nil)).Bytes()
}
