package task

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestArena appends pieces of every size and looks whether each stays as it was.
func TestArena(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	a := arena[byte]{chunk: 64}
	for range 50 {
		var kept, want [][]byte
		for i := range 40 {
			piece := a.room(16)
			if len(piece) != 0 {
				t.Fatalf("room has %d bytes", len(piece))
			}
			if rng.IntN(4) == 0 {
				_ = append(piece, "not kept"...)
				piece = a.room(16)
			}
			for range rng.IntN(100) {
				piece = append(piece, byte(i))
			}
			want = append(want, bytes.Clone(piece))
			kept = append(kept, a.keep(piece))
			if last := kept[len(kept)-1]; cap(last) != len(last) {
				t.Fatal("who appends to a piece writes into the next one")
			}
		}
		for i := range kept {
			if !bytes.Equal(kept[i], want[i]) {
				t.Fatalf("piece %d of %d bytes is another", i, len(want[i]))
			}
		}
		a.reset()
	}
}
