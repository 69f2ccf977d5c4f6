package broker

import (
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestRecordPool holds that no memory is given out twice, that it is large enough, and
// that no more is kept than may be.
func TestRecordPool(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	p := RecordPool{Most: 32_000}
	var out [][]kgo.Record
	again := 0
	for range 20_000 {
		if len(out) > 0 && rng.IntN(2) == 0 {
			i := rng.IntN(len(out))
			p.PutRecords(out[i])
			out[i] = out[len(out)-1]
			out = out[:len(out)-1]
			if p.kept > p.Most {
				t.Fatalf("%d records are kept", p.kept)
			}
			continue
		}
		n := 1 + rng.IntN(3000)
		l := p.GetRecords(n)
		if l == nil {
			l = make([]kgo.Record, 0, n)
		} else {
			again++
		}
		if cap(l) < n || len(l) != 0 {
			t.Fatalf("%d of %d records for %d", len(l), cap(l), n)
		}
		l = l[:cap(l)]
		for _, o := range out {
			if &o[0] == &l[0] {
				t.Fatal("memory was given out twice")
			}
		}
		if out = append(out, l); len(out) > 20 {
			out = out[1:] // never given back
		}
	}
	if again == 0 {
		t.Error("nothing was used again")
	}
}
