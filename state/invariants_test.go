package state

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/segmill/segmill/internal/invariants"
)

// panics fails the test unless f panics.
func panics(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s: nothing is said", what)
		}
	}()
	f()
}

// A write that does not say what the due index must lose, or has, is noticed, and so is
// a digest that is not the sum.
func TestInvariants(t *testing.T) {
	if !invariants.Enabled {
		t.Skip("needs the build tag segmill_invariants")
	}
	s := open(t, vfs.NewMem())
	defer closeStore(t, s)
	task := s.Task(0)
	apply := func(c Change) {
		if err := task.Apply([]Change{c}, nil); err != nil {
			t.Fatal(err)
		}
	}
	anna := bytesOf(10, "anna")
	apply(Change{"anna", anna, Never, 10})
	sum, _ := DigestOf("anna", anna, nil)
	task.Check(sum)
	panics(t, "bytes with another wake-up", func() { apply(Change{"anna", anna, 10, 20}) })
	apply(Change{"anna", bytesOf(30, "anna"), 20, 30}) // the entry at 10 stays
	changed, _ := DigestOf("anna", bytesOf(30, "anna"), nil)
	whole := func(d Digest) {
		for range wholeEvery {
			task.Check(d)
		}
	}
	panics(t, "an entry too many", func() { whole(changed) })
	apply(Change{"anna", nil, 30, Never})
	apply(Change{"bert", bytesOf(Never, "bert"), 10, Never})
	if err := task.Drop(); err != nil {
		t.Fatal(err)
	}
	whole(Digest{})
	apply(Change{"anna", anna, Never, 10})
	whole(sum)
	panics(t, "another digest", func() { whole(changed) })
}
