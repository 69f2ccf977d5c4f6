package state

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// indexBatch is how many entries of the due index are written at a time.
const indexBatch = 10_000

// Replay applies changes as the changelog has them, where the wake-up
// instants before and after are not known, and carries the digest on: it
// returns d without what the customers had and with what they have now. Of
// several changes of one customer the last one counts.
func (t *Task) Replay(changes []Change, meta *Meta, d Digest) (Digest, error) {
	kept := newest(changes)
	var old, buf []byte
	var h Digest
	for i := range kept {
		c := &kept[i]
		var ok bool
		var err error
		if old, ok, err = t.Customer(old[:0], c.Customer); err != nil {
			return d, err
		}
		c.Old, c.New = Never, Never
		if ok {
			if c.Old, err = t.s.opt.Wake(old); err != nil {
				return d, t.s.fail(ErrDamaged, "task %d: %v", t.id, err)
			}
			h, buf = DigestOf(c.Customer, old, buf)
			d = d.Sub(h)
		}
		if c.Value != nil {
			if c.New, err = t.s.opt.Wake(c.Value); err != nil {
				return d, err
			}
			h, buf = DigestOf(c.Customer, c.Value, buf)
			d = d.Add(h)
		}
	}
	return d, t.Apply(kept, meta)
}

// newest returns the last change of each customer, in order of the ids.
func newest(changes []Change) []Change {
	sorted := slices.Clone(changes)
	slices.SortStableFunc(sorted, func(a, b Change) int { return cmp.Compare(a.Customer, b.Customer) })
	kept := sorted[:0]
	for i, c := range sorted {
		if i+1 == len(sorted) || sorted[i+1].Customer != c.Customer {
			kept = append(kept, c)
		}
	}
	return kept
}

// Load writes changes blindly: no due index, no meta. Of several changes of one
// customer the last one counts. It is the fast way to fill an empty task; Index must
// follow.
func (t *Task) Load(changes []Change) error { return t.Fill(slices.Values(newest(changes))) }

// Fill is Load of changes that are made one by one, one of each customer. The bytes of
// one need not live longer than until the next.
func (t *Task) Fill(changes iter.Seq[Change]) error {
	return t.update(func(b *pebble.Batch) error {
		for c := range changes {
			var err error
			if key := t.customerKey(c.Customer); c.Value == nil {
				err = b.Delete(key, nil)
			} else {
				err = b.Set(key, c.Value, nil)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Index makes the due index of a task that was filled with Load, and returns the
// digest and the number of its customers. It calls each, which may be nil, with
// the number of customers so far every now and then, and ends with its error.
func (t *Task) Index(each func(customers int) error) (Digest, int, error) {
	var d, h Digest
	var n int
	var buf []byte
	b := t.s.db.NewBatch()
	err := t.Scan("", func(id string, v []byte) error {
		h, buf = DigestOf(id, v, buf)
		d = d.Add(h)
		if n++; n%indexBatch == 0 && each != nil {
			if err := each(n); err != nil {
				return err
			}
		}
		wake, err := t.s.opt.Wake(v)
		if err != nil || wake == Never {
			return err
		}
		if err := b.Set(t.dueKey(wake, id), nil, nil); err != nil || b.Count() < indexBatch {
			return err
		}
		err = t.commit(b)
		b = t.s.db.NewBatch()
		return err
	})
	if err != nil {
		return d, n, errors.Join(err, b.Close())
	}
	return d, n, t.commit(b)
}

// Verified is the result of Verify.
type Verified struct {
	Meta      Meta
	Digest    Digest // of the customers
	Customers int
	Misplaced int // customers whose entry in the due index is missing, and entries without customer
}

// Verify reads everything of the task as of one moment, while others write. It
// returns early with ctx's error.
func (t *Task) Verify(ctx context.Context) (Verified, error) {
	snap := t.s.db.NewSnapshot()
	defer snap.Close() // closing a snapshot has nothing to report
	r := &Task{s: t.s, id: t.id}
	var v Verified
	b, closer, err := snap.Get(r.key(kindMeta))
	if err != nil {
		return v, t.s.judge(err)
	}
	err = v.Meta.decode(b)
	if cerr := closer.Close(); err != nil || cerr != nil {
		return v, t.s.fail(ErrDamaged, "task %d: %v", t.id, err)
	}
	want := 0
	var h Digest
	var buf []byte
	err = r.scan(snap, "", func(id string, value []byte) error {
		h, buf = DigestOf(id, value, buf)
		v.Digest = v.Digest.Add(h)
		v.Customers++
		wake, err := t.s.opt.Wake(value)
		if err != nil {
			return t.s.fail(ErrDamaged, "task %d: %v", t.id, err)
		}
		if wake != Never {
			want++
			_, closer, err := snap.Get(r.dueKey(wake, id))
			if err != nil {
				v.Misplaced++
			} else if err := closer.Close(); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
	if err != nil {
		return v, err
	}
	entries, err := r.count(snap, kindDue)
	v.Misplaced += max(0, entries-(want-v.Misplaced))
	return v, err
}

func (t *Task) count(r pebble.Reader, kind byte) (int, error) {
	lower, upper := t.bounds(kind)
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return 0, t.s.judge(err)
	}
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	if err := it.Close(); err != nil {
		return n, t.s.judge(err)
	}
	return n, nil
}
