package state

import (
	"cmp"
	"errors"
	"iter"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/segmill/segmill/internal/invariants"
)

// Task is the part of a store that belongs to one task. It is used by one
// goroutine.
type Task struct {
	s   *Store
	id  uint32
	buf []byte // the key being made
	due []dueChange
	// size is how long the last batch was: the next one will be about as long.
	size   int
	checks checks
}

// Task returns the part of task n.
func (s *Store) Task(n int32) *Task { return &Task{s: s, id: uint32(n)} }

// Scratch returns a second part of task n, for data that only lives until the
// task is done with something. It is not empty after a crash: Drop it first.
func (s *Store) Scratch(n int32) *Task { return &Task{s: s, id: uint32(n) | scratchBit} }

// Change is a new value of one customer.
type Change struct {
	Customer string
	Value    []byte // nil: the customer is deleted
	// Old and New are the wake-up instants before and after, Never for none.
	Old, New Millis
}

// Customer appends the bytes of a customer to dst. It returns false if the
// customer is not there.
func (t *Task) Customer(dst []byte, id string) ([]byte, bool, error) {
	return t.get(dst, t.customerKey(id))
}

// Empty reports whether there is no customer.
func (t *Task) Empty() (bool, error) {
	lower, upper := t.bounds(kindCustomer)
	it, err := t.s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return false, t.s.judge(err)
	}
	some := it.First()
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return false, t.s.judge(err)
	}
	return !some, nil
}

func (t *Task) get(dst, key []byte) ([]byte, bool, error) {
	v, closer, err := t.s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return dst, false, nil
	}
	if err != nil {
		return dst, false, t.s.judge(err)
	}
	dst = append(dst, v...)
	return dst, true, closer.Close()
}

// Meta returns what the copy is a copy of; false if there is no complete copy,
// or if what is there can't be read.
func (t *Task) Meta() (Meta, bool, error) {
	var m Meta
	b, ok, err := t.get(nil, t.key(kindMeta))
	if err != nil || !ok {
		return m, false, err
	}
	if err := m.decode(b); err != nil {
		t.s.opt.Logger.Warn("local state is not used", "task", t.id, "error", err)
		return m, false, nil
	}
	m.Versions, _, err = t.get(nil, t.key(kindVersions))
	return m, true, err
}

// Apply writes the changes, the due index and meta in one batch, unsynced: after
// a crash either all of it is there or none. A nil meta leaves the stored one.
func (t *Task) Apply(changes []Change, meta *Meta) error {
	return t.Write(slices.Values(changes), meta)
}

// Write is Apply of changes that are made one by one. The bytes of one need not live
// longer than until the next. It is faster if they come in order of the
// customers' ids.
func (t *Task) Write(changes iter.Seq[Change], meta *Meta) error {
	t.checks.sample = t.checks.sample[:0]
	err := t.update(func(b *pebble.Batch) error {
		due := t.due[:0]
		for c := range changes {
			var err error
			if key := t.customerKey(c.Customer); c.Value == nil {
				c.New = Never
				err = b.Delete(key, nil)
			} else {
				err = b.Set(key, c.Value, nil)
			}
			if err != nil {
				return err
			}
			if invariants.Enabled {
				t.note(&c)
			}
			if c.Old != c.New {
				due = append(due, dueChange{Due{c.Old, c.Customer}, false}, dueChange{Due{c.New, c.Customer}, true})
			}
		}
		if err := t.writeDue(b, due); err != nil {
			return err
		}
		clear(due) // lets the ids go
		t.due = due
		if meta == nil {
			return nil
		}
		return t.putMeta(b, meta)
	})
	if invariants.Enabled && err == nil {
		t.checkWrite()
	}
	return err
}

// dueChange adds an entry to the due index or takes it out.
type dueChange struct {
	Due
	add bool
}

// writeDue writes entries in the order of their keys, next to each other in the
// memtable. No entry is both added and taken out.
func (t *Task) writeDue(b *pebble.Batch, due []dueChange) error {
	slices.SortFunc(due, func(a, b dueChange) int {
		if a.At != b.At {
			return cmp.Compare(a.At, b.At)
		}
		return cmp.Compare(a.Customer, b.Customer)
	})
	for _, d := range due {
		if d.At == Never {
			break // they are the last
		}
		key := t.dueKey(d.At, d.Customer)
		var err error
		if d.add {
			err = b.Set(key, nil, nil)
		} else {
			err = b.Delete(key, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// maxBatchSize is the most memory, in bytes, that a batch is given in advance.
const maxBatchSize = 16 << 20

// update fills a batch and commits it.
func (t *Task) update(fill func(*pebble.Batch) error) error {
	b := t.s.db.NewBatchWithSize(t.size)
	if err := fill(b); err != nil {
		return errors.Join(err, b.Close())
	}
	t.size = min(b.Len()+b.Len()/8, maxBatchSize)
	return t.commit(b)
}

// commit commits a batch and closes it, which a caller that gave up waiting for the
// commit must not do.
func (t *Task) commit(b *pebble.Batch) error {
	return t.s.guard(func() error { return errors.Join(b.Commit(pebble.NoSync), b.Close()) })
}

func (t *Task) putMeta(b *pebble.Batch, m *Meta) error {
	if m.Versions != nil {
		if err := b.Set(t.key(kindVersions), m.Versions, nil); err != nil {
			return err
		}
	}
	return b.Set(t.key(kindMeta), m.append(nil), nil)
}

// Drop deletes everything of the task.
func (t *Task) Drop() error {
	return t.update(func(b *pebble.Batch) error {
		for _, kind := range []byte{kindCustomer, kindDue, kindMeta, kindVersions} {
			lower, upper := t.bounds(kind)
			if err := b.DeleteRange(lower, upper, nil); err != nil {
				return err
			}
		}
		return nil
	})
}

// Due is an entry of the due index.
type Due struct {
	At       Millis
	Customer string
}

// Due appends to dst the entries after the given one and due at or before upto,
// in order of (due, customer), at most limit. There need not be an entry after.
func (t *Task) Due(dst []Due, after Due, upto Millis, limit int) ([]Due, error) {
	lower := append([]byte(nil), t.dueKey(after.At, after.Customer)...)
	if after.Customer != "" { // no customer has an empty id
		lower = append(lower, 0)
	}
	_, upper := t.bounds(kindDue)
	if upto < Never {
		upper = append([]byte(nil), t.dueKey(upto+1, "")...)
	}
	it, err := t.s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return dst, t.s.judge(err)
	}
	for ok := it.First(); ok && limit > 0; ok = it.Next() {
		at, id, ok := parseDue(it.Key())
		if !ok {
			return dst, errors.Join(t.s.fail(ErrDamaged, "task %d: a key of the due index", t.id), it.Close())
		}
		dst = append(dst, Due{at, id})
		limit--
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return dst, t.s.judge(err)
	}
	return dst, nil
}

// Scan calls visit for every customer after the given id, in order of id, until
// it returns an error. The bytes are good until visit returns.
func (t *Task) Scan(after string, visit func(customer string, value []byte) error) error {
	return t.scan(t.s.db, after, visit)
}

func (t *Task) scan(r pebble.Reader, after string, visit func(customer string, value []byte) error) error {
	lower, upper := t.bounds(kindCustomer)
	if after != "" {
		lower = append(append(lower, after...), 0)
	}
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return t.s.judge(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		if err := visit(string(it.Key()[prefixLen:]), it.Value()); err != nil {
			return errors.Join(err, it.Close())
		}
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return t.s.judge(err)
	}
	return nil
}
