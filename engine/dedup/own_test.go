package dedup

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// docs/semantics.md, 11.7: the bytes of ids do not depend on the numbers of the streams that a rule set declares,
// and ids of a stream that is no longer declared are forgotten.
func TestOwnStreams(t *testing.T) {
	const at = 1_800_000_000_000
	const calls, support, visits = 7, 3, 9 // keys, in the order of the names
	memory := func(keys Keys) (m Memory) {
		for i := range 90 {
			ev := Event{Stream: plan.Stream(i % 3), Source: "s", ID: fmt.Sprint(i), At: at - expr.Millis(i)}
			if k := [...]uint32{0, support, visits}[i%3]; k != 0 {
				ev.Stream, ev.Key = plan.NumBuiltin+plan.Stream(slices.Index(keys, k)), k
			}
			m.insert(Of(&ev))
		}
		return m
	}
	few, more, gone := Keys{support, visits}, Keys{calls, support, visits}, Keys{calls, visits}
	was := memory(few)
	b := was.Append(nil, at, few)
	if wider := memory(more); !bytes.Equal(wider.Append(nil, at, more), b) {
		t.Error("one more stream changes the bytes of ids")
	}
	for _, tc := range []struct {
		keys Keys
		want int
	}{{few, 90}, {more, 90}, {gone, 60}, {nil, 30}} {
		r, got := aggregate.NewReader(b, 3), Memory{}
		if got.Read(&r, at, tc.keys); !r.Done() || got.Len() != tc.want {
			t.Fatalf("streams %v: %d ids are read, want %d", tc.keys, got.Len(), tc.want)
		}
		horizons := make(Horizons, int(plan.NumBuiltin)+len(tc.keys))
		for i := range horizons {
			horizons[i] = 1 << 40
		}
		for i := range 3 {
			ev := Event{Stream: plan.Stream(i), Source: "s", ID: fmt.Sprint(i), At: at - expr.Millis(i)}
			k := [...]uint32{0, support, visits}[i]
			if k != 0 {
				ev.Stream, ev.Key = plan.NumBuiltin+plan.Stream(max(0, slices.Index(tc.keys, k))), k
			}
			known := k == 0 || slices.Contains(tc.keys, k)
			if got := got.Judge(Of(&ev), at, &horizons); got.Duplicate != known {
				t.Errorf("streams %v: event %d is a duplicate: %t", tc.keys, i, got.Duplicate)
			}
		}
	}
	one := Event{Stream: plan.NumBuiltin, Key: support, Source: "s", ID: "a", At: at}
	other := Event{Stream: plan.NumBuiltin, Key: visits, Source: "s", ID: "a", At: at}
	if a, b := Of(&one), Of(&other); a.hash() == b.hash() {
		t.Error("events of two streams have one hash")
	}
	if one := Of(&one); !one.frequent() {
		t.Error("ids of a stream of one's own use what is reserved")
	}
}
