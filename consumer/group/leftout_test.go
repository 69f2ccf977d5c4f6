package group

import (
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/deadletter"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
)

// refusedOffsets reads the dead letters of web/0: the offsets of the records that they are
// about, and how many of them are about several.
func (g *fleet) refusedOffsets() (offsets map[int64]int, letters, several int) {
	g.Helper()
	offsets = map[int64]int{}
	for _, r := range g.Read(rig.App + ".dlq")[0] {
		h := map[string]string{}
		for _, kv := range r.Headers {
			h[kv.Key] = string(kv.Value)
		}
		letters++
		number := func(s string) int64 {
			n, err := strconv.ParseInt(s, 10, 64)
			if err != nil {
				g.Fatalf("%v: %v", h, err)
			}
			return n
		}
		if h["dlq.left_out"] == "" {
			offsets[number(h["dlq.offset"])]++
			continue
		}
		several++
		n, least, most := int64(0), int64(-1), int64(-1)
		for piece := range strings.SplitSeq(string(r.Value), ",") {
			from, to, ok := strings.Cut(piece, "-")
			if !ok {
				to = from
			}
			for at := number(from); at <= number(to); at++ {
				offsets[at]++
				n++
				if least < 0 {
					least = at
				}
				most = at
			}
		}
		if n != number(h["dlq.left_out"]) || least != number(h["dlq.offset"]) || most != number(h["dlq.last_offset"]) {
			g.Errorf("dead letter %v lists %d records, %d to %d", h, n, least, most)
		}
	}
	return offsets, letters, several
}

// A small batch of very many records that are refused makes a bounded number of dead
// letters, which between them name every record, and all are counted. It is so, too, when
// transactions come to nothing.
func TestFloodOfRefused(t *testing.T) {
	const n = 200_000
	for _, point := range []string{"", "produced", "ended"} {
		t.Run(point, func(t *testing.T) {
			g := newFleet(t, 1)
			var raw []byte
			for i := range n {
				raw = rawEvent(raw, i, &kgo.Record{})
			}
			b, as := compress(t, codecs["gzip"], raw)
			t.Logf("%d bytes", len(b))
			g.produceBatch("web", as, n, b)
			g.Produce(g.Event(plan.Web, "canary", g.Now(), nil))
			reg := prometheus.NewRegistry()
			var log syncBuffer
			begin := g.Now()
			passed := 0
			in := g.start(fixture.Rules, vfs.NewMem(), func(c *config.Config) {
				c.Metrics, c.Logger = metrics.New(reg), slog.New(slog.NewTextHandler(&log, nil))
				rig.FailAt(g, c, func(_ int32, p string) error {
					if p != point {
						return nil
					}
					if passed++; passed%5 == 0 && passed <= 10 {
						return rig.ErrCrash
					}
					return nil
				})
			})
			in.caughtUp()
			in.stop()
			took := g.Now().Sub(begin)
			offsets, letters, several := g.refusedOffsets()
			if len(offsets) != n || slices.Max(slices.Collect(maps.Values(offsets))) != 1 {
				t.Errorf("%d of %d records are named, once each", len(offsets), n)
			}
			sessions := 1 + passed/5
			if most := sessions*deadletter.Burst + int(took.Seconds()+1)*deadletter.Rate + several; letters > most || several == 0 || letters > n/2 {
				t.Errorf("%d dead letters, %d of them of several, want at most %d", letters, several, most)
			}
			if folded, dead, _ := g.Totals(); folded != 1 || dead != n {
				t.Errorf("folded %d, dead letters %d", folded, dead)
			}
			got := fixture.Gather(t, reg)
			counted, left := 0.0, 0.0
			for name, v := range got {
				switch {
				case strings.HasPrefix(name, "segmill_dead_letters_total{"):
					counted += v
				case strings.HasPrefix(name, "segmill_dead_letters_left_out_total{"):
					left += v
				}
			}
			if point != "ended" && (counted != n || left != float64(n-letters+several)) { // what ended in Kafka alone is not counted
				t.Errorf("%v counted, %v of them left out; %d letters", counted, left, letters)
			}
			if c := strings.Count(log.b.String(), "more records are refused than get"); c == 0 || c > sessions*int(1+took.Minutes()) {
				t.Errorf("%d lines of the log", c)
			}
		})
	}
}
