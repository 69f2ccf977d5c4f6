package state

import (
	"fmt"
	"math/rand/v2"
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
