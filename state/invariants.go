package state

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/segmill/segmill/internal/invariants"
)

// Checks of builds with invariants. What a write has changed is looked at after it, at
// most sampleOf customers of it; the whole task at each wholeEvery-th call of Check,
// if it has at most wholeOf customers. So the checks cost a few per cent of a test,
// however much it writes.
const (
	sampleOf   = 32
	wholeOf    = 1_000
	wholeEvery = 16
)

// checks are the checks of a task. They are empty in a release.
type checks struct {
	whole  invariants.Sampler
	sample []sampled
}

// sampled is a change that is looked at when it is written.
type sampled struct {
	customer string
	old, new Millis
}

// note takes a change of a write into the sample.
func (t *Task) note(c *Change) {
	if c.Value != nil {
		wake, err := t.s.opt.Wake(c.Value)
		if err != nil || wake != c.New {
			invariants.Broken("task %d: %q is written with the wake-up %v, and its bytes say %v, %v", t.id, c.Customer, c.New, wake, err)
		}
	}
	if len(t.checks.sample) < sampleOf {
		t.checks.sample = append(t.checks.sample, sampled{c.Customer, c.Old, c.New})
	}
}

// checkWrite checks that the due index has what the write says.
func (t *Task) checkWrite() {
	for _, c := range t.checks.sample {
		if c.new != Never {
			if t.lacks(t.s.db, t.dueKey(c.new, c.customer)) {
				invariants.Broken("task %d: %q is due at %v, and the due index does not have it", t.id, c.customer, c.new)
			}
		}
		if c.old != c.new && c.old != Never {
			if t.has(t.s.db, t.dueKey(c.old, c.customer)) {
				invariants.Broken("task %d: %q is no longer due at %v, and the due index still has it", t.id, c.customer, c.old)
			}
		}
	}
}

// Check checks, in builds with invariants and now and then, that the due index holds
// the wake-ups of the customers and nothing else, and that digest is the sum over
// the customers. It does nothing in a release.
func (t *Task) Check(digest Digest) {
	if !invariants.Enabled || !t.checks.whole.Every(wholeEvery) {
		return
	}
	snap := t.s.db.NewSnapshot()
	defer snap.Close()
	r := &Task{s: t.s, id: t.id}
	var sum, h Digest
	var buf []byte
	customers, due := 0, 0
	tooMany := errors.New("too many")
	err := r.scan(snap, "", func(id string, value []byte) error {
		if customers++; customers > wholeOf {
			return tooMany
		}
		h, buf = DigestOf(id, value, buf)
		sum = sum.Add(h)
		wake, err := t.s.opt.Wake(value)
		if err == nil && wake != Never {
			due++
			if r.lacks(snap, r.dueKey(wake, id)) {
				invariants.Broken("task %d: %q is due at %v, and the due index does not have it", t.id, id, wake)
			}
		}
		return err
	})
	if err != nil {
		return // too many, or a disk that a test makes fail
	}
	entries, err := r.count(snap, kindDue)
	if err != nil {
		return
	}
	if entries != due {
		invariants.Broken("task %d: %d entries in the due index, and %d customers are due", t.id, entries, due)
	}
	if sum != digest {
		invariants.Broken("task %d: the digest is %v, and the sum over %d customers is %v", t.id, digest, customers, sum)
	}
}

// has reports whether a key is known to be there, and lacks whether it is known not to
// be: a disk that fails is not what is checked.
func (t *Task) has(r pebble.Reader, key []byte) bool {
	_, closer, err := r.Get(key)
	return err == nil && closer.Close() == nil
}

func (t *Task) lacks(r pebble.Reader, key []byte) bool {
	_, closer, err := r.Get(key)
	if err == nil {
		_ = closer.Close()
	}
	return errors.Is(err, pebble.ErrNotFound)
}
