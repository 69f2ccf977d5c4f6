package consumer

import (
	"fmt"
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
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/engine/plan"
)

// refusedOffsets reads the dead letters of web/0: the offsets of the records that they are
// about, and how many of them are about several.
func (g *rig) refusedOffsets() (offsets map[int64]int, letters, several int) {
	g.Helper()
	offsets = map[int64]int{}
	for _, r := range g.read(app + ".dlq")[0] {
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
			g := newRig(t, 1)
			var raw []byte
			for i := range n {
				raw = rawEvent(raw, i, &kgo.Record{})
			}
			b, as := compress(t, codecs["gzip"], raw)
			t.Logf("%d bytes", len(b))
			g.produceBatch("web", as, n, b)
			g.produce(g.event(plan.Web, "canary", g.now(), nil))
			reg := prometheus.NewRegistry()
			var log syncBuffer
			begin := g.now()
			passed := 0
			in := g.start(rules, vfs.NewMem(), func(c *config.Config) {
				c.Metrics, c.Logger = metrics.New(reg), slog.New(slog.NewTextHandler(&log, nil))
				c.FailAt = func(_ int32, p string) error {
					if p != point {
						return nil
					}
					if passed++; passed%5 == 0 && passed <= 10 {
						return errCrash
					}
					return nil
				}
			})
			in.caughtUp()
			in.stop()
			took := g.now().Sub(begin)
			offsets, letters, several := g.refusedOffsets()
			if len(offsets) != n || slices.Max(slices.Collect(maps.Values(offsets))) != 1 {
				t.Errorf("%d of %d records are named, once each", len(offsets), n)
			}
			sessions := 1 + passed/5
			if most := sessions*letterBurst + int(took.Seconds()+1)*letterRate + several; letters > most || several == 0 || letters > n/2 {
				t.Errorf("%d dead letters, %d of them of several, want at most %d", letters, several, most)
			}
			if folded, dead, _ := g.totals(); folded != 1 || dead != n {
				t.Errorf("folded %d, dead letters %d", folded, dead)
			}
			got := gather(t, reg)
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

// What is left out is listed as ranges, by topic, partition and cause, and lists end
// before they are too large for a record.
func TestLeftOutLists(t *testing.T) {
	s := &session{}
	leave := func(offset int64, cause string) {
		s.leaveOut(&feed.Head{From: feed.Origin{Topic: "web", Offset: offset}}, cause)
	}
	for _, at := range []int64{3, 4, 5, 9, 11, 12, 10} {
		leave(at, "type")
	}
	leave(7, "size")
	var got []string
	for _, l := range s.batch.inOrder {
		got = append(got, fmt.Sprintf("%s %d %d-%d: %s", l.cause, l.n, l.first, l.last, appendRange(l.ranges, l.from, l.to)))
	}
	if want := []string{"type 7 3-12: 3-5,9,11-12,10", "size 1 7-7: 7"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	s.batch.reset()
	for i := range int64(100_000) {
		leave(2*i, "type")
	}
	n := 0
	for _, l := range s.batch.inOrder {
		n += l.n
		if len(l.ranges) > leftOutBytes+100 {
			t.Errorf("a list of %d bytes", len(l.ranges))
		}
	}
	if n != 100_000 || len(s.batch.inOrder) < 2 {
		t.Errorf("%d records in %d lists", n, len(s.batch.inOrder))
	}
}
