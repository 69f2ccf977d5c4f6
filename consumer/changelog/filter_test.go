package changelog_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
)

// Whatever owners without transactions leave behind, compacted or not, a reader finds
// the customers that count, and the keys that the next owner has to write again; from
// the beginning or from any position that counts.
func TestFilter(t *testing.T) {
	for _, seed := range fixture.Seeds(t, 200) {
		t.Run(fmt.Sprintf("SEED=%d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			c := rig.NewClaims(t, rng)
			c.Random(5 + rng.IntN(80))
			void := slices.Sorted(maps.Keys(c.Void))

			got := map[string][]byte{}
			if v := replay(t, changelog.NewFilter(), c.Log, got); !slices.Equal(v, void) {
				t.Errorf("to be written again: %q, want %q", v, void)
			}
			if !maps.EqualFunc(got, c.State, bytes.Equal) {
				t.Errorf("%d customers are not the %d that count", len(got), len(c.State))
			}
			for _, from := range c.Copies {
				got := maps.Clone(from.State)
				replay(t, changelog.FilterAfter(from.Position), c.Log[from.Next:], got)
				if !maps.EqualFunc(got, c.State, bytes.Equal) {
					t.Errorf("from seq %d on: %d customers are not the %d that count", from.Position.Seq, len(got), len(c.State))
				}
			}

			count, err := changelog.Counting(c.Log)
			if err != nil {
				t.Fatal(err)
			}
			got = map[string][]byte{}
			for _, r := range count {
				apply(got, r)
			}
			if !maps.EqualFunc(got, c.State, bytes.Equal) {
				t.Errorf("of all records: %d customers are not the %d that count", len(got), len(c.State))
			}
		})
	}
}

// replay applies the records that count to customers, and returns the keys whose newest
// record does not.
func replay(t *testing.T, f *changelog.Filter, log []*kgo.Record, customers map[string][]byte) (void []string) {
	t.Helper()
	var batch []*kgo.Record
	for _, r := range log {
		by, err := f.Judge(r)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case by == nil:
		case string(r.Key) == changelog.PositionKey:
			f.Close()
			for _, r := range batch {
				apply(customers, r)
			}
			batch = nil
		default:
			f.Open(string(r.Key), *by)
			batch = append(batch, r)
		}
	}
	return slices.Sorted(maps.Keys(f.Void()))
}

func apply(customers map[string][]byte, r *kgo.Record) {
	id, ok := strings.CutPrefix(string(r.Key), changelog.CustomerPrefix)
	if !ok {
		return
	}
	if customers[id] = r.Value; r.Value == nil {
		delete(customers, id)
	}
}
