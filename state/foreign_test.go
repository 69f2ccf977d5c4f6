package state

import (
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A position of any other format than ours is no position.
func TestMetaOfAnotherFormat(t *testing.T) {
	s := open(t, vfs.NewMem())
	defer closeStore(t, s)
	task := s.Task(1)
	m := Meta{Position: []byte("p"), Next: 7, AppliedAt: 8}
	for format := range 256 {
		b := m.append(nil)
		b[0] = byte(format)
		if err := s.db.Set(task.key(kindMeta), b, pebble.NoSync); err != nil {
			t.Fatal(err)
		}
		got, ok, err := task.Meta()
		if err != nil || ok != (format == metaFormat) {
			t.Errorf("format %d: read as %+v, %t (%v)", format, got, ok, err)
		}
	}
}
