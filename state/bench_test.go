package state

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// BenchmarkLoad fills an empty task with 200,000 customers of 200 bytes in random
// order, on disk, and indexes it: the store's part of a restore from nothing.
func BenchmarkLoad(b *testing.B) {
	const n = 200_000
	rng := rand.New(rand.NewPCG(1, 1))
	order := rng.Perm(n)
	b.ReportAllocs()
	for b.Loop() {
		opt := options(nil)
		opt.FS, opt.CacheBytes = nil, 64<<20
		s, err := Open(b.TempDir(), opt)
		if err != nil {
			b.Fatal(err)
		}
		task := s.Task(0)
		changes := make([]Change, 0, 10_000)
		for _, i := range order {
			v := bytesOf(Millis(i), fmt.Sprintf("%0192d", i))
			if changes = append(changes, Change{Customer: fmt.Sprintf("customer-%07d", i), Value: v}); len(changes) == cap(changes) {
				if err := task.Load(changes); err != nil {
					b.Fatal(err)
				}
				changes = changes[:0]
			}
		}
		if _, got, err := task.Index(nil); got != n || err != nil {
			b.Fatal(got, err)
		}
		closeStore(b, s)
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "customers/s")
}

// filled returns a task on disk with n customers of 200 bytes, each with a wake-up.
func filled(b *testing.B, n int) (*Store, *Task, []Change) {
	b.Helper()
	opt := options(nil)
	opt.FS, opt.CacheBytes = nil, 256<<20
	s, err := Open(b.TempDir(), opt)
	if err != nil {
		b.Fatal(err)
	}
	changes := make([]Change, n)
	for i := range changes {
		at := Millis(i * 7919 % n)
		changes[i] = Change{Customer: fmt.Sprintf("customer-%07d", i), Value: bytesOf(at, fmt.Sprintf("%0192d", i)), Old: Never, New: at}
	}
	task := s.Task(0)
	if err := task.Apply(changes, &Meta{}); err != nil {
		b.Fatal(err)
	}
	return s, task, changes
}

// BenchmarkWrite writes 20,000 of 100,000 customers with new wake-ups in one batch, in
// order of their ids or not.
func BenchmarkWrite(b *testing.B) {
	const n, each = 100_000, 20_000
	for _, sorted := range []bool{true, false} {
		b.Run(fmt.Sprintf("sorted=%v", sorted), func(b *testing.B) {
			s, task, changes := filled(b, n)
			rng := rand.New(rand.NewPCG(1, 1))
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				some := rng.Perm(n)[:each]
				if sorted {
					slices.Sort(some)
				}
				batch := make([]Change, each)
				for k, i := range some {
					c := &changes[i]
					c.Old, c.New = c.New, c.New+Millis(n)
					c.Value = bytesOf(c.New, fmt.Sprintf("%0192d", i))
					batch[k] = *c
				}
				b.StartTimer()
				if err := task.Apply(batch, &Meta{}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(each*b.N)/b.Elapsed().Seconds(), "customers/s")
			closeStore(b, s)
		})
	}
}

// BenchmarkCustomer reads one of 100,000 customers, as the cache does that misses.
func BenchmarkCustomer(b *testing.B) {
	const n = 100_000
	s, task, changes := filled(b, n)
	rng := rand.New(rand.NewPCG(1, 1))
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		var ok bool
		var err error
		if buf, ok, err = task.Customer(buf[:0], changes[rng.IntN(n)].Customer); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
	closeStore(b, s)
}

// BenchmarkDue reads 256 entries of the due index.
func BenchmarkDue(b *testing.B) {
	const n = 100_000
	s, task, _ := filled(b, n)
	var due []Due
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if due, err = task.Due(due[:0], Due{At: n / 2}, Never, 256); len(due) != 256 || err != nil {
			b.Fatal(len(due), err)
		}
	}
	closeStore(b, s)
}
