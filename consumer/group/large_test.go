package group

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/klauspost/compress/s2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
)

// rawEvent appends a record as it stands in a batch.
func rawEvent(b []byte, i int, r *kgo.Record) []byte {
	body := kbin.AppendInt8(nil, 0)
	body = kbin.AppendVarint(body, 0)
	body = kbin.AppendVarint(body, int32(i))
	body = kbin.AppendVarintBytes(body, r.Key)
	body = kbin.AppendVarintBytes(body, r.Value)
	body = kbin.AppendVarint(body, int32(len(r.Headers)))
	for _, h := range r.Headers {
		body = kbin.AppendVarintString(body, h.Key)
		body = kbin.AppendVarintBytes(body, h.Value)
	}
	return append(kbin.AppendVarint(b, int32(len(body))), body...)
}

// largeEvents returns n events of n customers as they stand in a batch, more than the client
// takes at once. The record at bad, if there is one, can't be read.
func (g *fleet) largeEvents(n, bad int) []byte {
	g.Helper()
	var raw []byte
	padding := strings.Repeat("the same in every event ", (broker.MaxBatch/n-300)/24)
	for i := range n {
		r := g.Event(plan.Web, fmt.Sprint("c", i), g.Now(), map[string]any{"attributes": map[string]string{"a": padding}})
		r.Headers = []kgo.RecordHeader{{Key: "a", Value: []byte("b")}, {Key: "none"}}
		if i == bad {
			r.Value = []byte("{")
		}
		raw = rawEvent(raw, i, r)
	}
	if len(raw) <= broker.MaxBatch {
		g.Fatalf("the batch is %d bytes, which is not large", len(raw))
	}
	return raw
}

// compressLarge compresses as producers do; java is snappy as Java's clients write it.
func compressLarge(t testing.TB, name string, raw []byte) ([]byte, kgo.CompressionCodecType) {
	t.Helper()
	if name != "java" {
		return compress(t, codecs[name], raw)
	}
	b := append([]byte{130, 'S', 'N', 'A', 'P', 'P', 'Y', 0}, 0, 0, 0, 1, 0, 0, 0, 1)
	for part := range slices.Chunk(raw, 32<<10) {
		block := s2.EncodeSnappy(nil, part)
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(block))), block...)
	}
	return b, kgo.CodecSnappy
}

var producers = []string{"gzip", "snappy", "java", "lz4", "zstd"}

// Events of a batch that is too large to be decompressed at once are folded all the
// same, and one that can't be read is refused alone.
func TestLargeBatch(t *testing.T) {
	for _, name := range producers {
		const n = 20_000
		for _, bad := range []int{-1, n / 2} {
			t.Run(fmt.Sprint(name, bad), func(t *testing.T) {
				g := newFleet(t, 1, kfake.BrokerConfigs(map[string]string{"message.max.bytes": "2000000"})) // for snappy
				raw := g.largeEvents(n, bad)
				b, as := compressLarge(t, name, raw)
				t.Logf("%d bytes, %d inflated", len(b), len(raw))
				g.Produce(g.Event(plan.Web, "before", g.Now(), nil))
				g.produceBatch("web", as, n, b)
				g.Produce(g.Event(plan.Web, "behind", g.Now(), nil))
				in := g.start(fixture.Rules, vfs.NewMem(), nil)
				in.caughtUp()
				in.stop()
				want, letters := uint64(0), []string(nil)
				if bad >= 0 {
					want, letters = 1, []string{fmt.Sprintf("format %d ", 1+bad)}
				}
				g.wantRefused(letters...)
				if folded, dead, _ := g.Totals(); folded != n+2-want || dead != want {
					t.Errorf("folded %d, dead letters %d", folded, dead)
				}
				if got := g.Members(); len(got) != n+2-int(want) {
					t.Errorf("%d members", len(got))
				}
			})
		}
	}
}

// A session that ends in the middle of a large batch is followed by one that goes on
// where it was.
func TestDeathInLargeBatch(t *testing.T) {
	const n = 5_000
	for _, point := range []string{"begun", "produced", "ended", "applied"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			g := newFleet(t, 1)
			b, as := compressLarge(t, "zstd", g.largeEvents(n, n/2))
			g.produceBatch("web", as, n, b)
			g.Produce(g.Event(plan.Web, "behind", g.Now(), nil))
			var passed, crashes atomic.Int32
			in := g.start(fixture.Rules, vfs.NewMem(), func(c *config.Config) {
				c.Batch.Records = 500
				rig.FailAt(g, c, func(_ int32, p string) error {
					if p == point && passed.Add(1)%3 == 0 && crashes.Add(1) <= 3 {
						return rig.ErrCrash
					}
					return nil
				})
			})
			in.caughtUp()
			in.stop()
			g.wantRefused(fmt.Sprintf("format %d ", n/2))
			if folded, dead, _ := g.Totals(); folded != n || dead != 1 {
				t.Errorf("folded %d, dead letters %d", folded, dead)
			}
			if got := g.Members(); len(got) != n { // members wants every change once
				t.Errorf("%d members", len(got))
			}
			if crashes.Load() < 3 {
				t.Errorf("%d crashes", crashes.Load())
			}
		})
	}
}

// Batches that are not what they claim, and bombs, are dead letters of their range from where
// they can't be read any more, which count all records; what stands behind is read.
func TestRefusedLargeBatches(t *testing.T) {
	const n = 2_000
	for name, c := range map[string]struct {
		make    func(*fleet) (records int, raw []byte)
		cut     int // bytes of what is compressed
		letters []string
		folded  uint64
		dead    uint64
	}{
		"claims more": {
			make:    func(g *fleet) (int, []byte) { return n + 100, g.largeEvents(n, -1) },
			letters: []string{"batch 2000 2099"}, folded: n, dead: 100,
		},
		"a length is wrong": {
			make: func(g *fleet) (int, []byte) {
				return n + 7, append(g.largeEvents(n, -1), 0xff, 0xff, 0xff, 0xff, 0xff, 1)
			},
			letters: []string{"batch 2000 2006"}, folded: n, dead: 7,
		},
		"a record is cut off": {
			make:    func(g *fleet) (int, []byte) { b := g.largeEvents(n, -1); return n, b[:len(b)-3] },
			letters: []string{"batch 1999 1999"}, folded: n - 1, dead: 1,
		},
		"an offset comes twice": {
			make: func(g *fleet) (int, []byte) {
				r := g.Event(plan.Web, "twice", g.Now(), nil)
				return n + 2, rawEvent(rawEvent(g.largeEvents(n, -1), n, r), n, r)
			},
			letters: []string{"batch 2001 2001"}, folded: n + 1, dead: 1,
		},
		"a record is too large": {
			make: func(g *fleet) (int, []byte) {
				r := g.Event(plan.Web, "behind it", g.Now(), nil)
				return n + 2, rawEvent(rawEvent(g.largeEvents(n, -1), n, &kgo.Record{Value: make([]byte, broker.MaxRecord)}), n+1, r)
			},
			letters: []string{"size 2000 2000"}, folded: n + 1, dead: 1,
		},
		"a bomb of one record": {
			make: func(g *fleet) (int, []byte) {
				raw := rawEvent(nil, 0, g.Event(plan.Web, "before it", g.Now(), nil))
				raw = rawEvent(raw, 1, &kgo.Record{Value: make([]byte, broker.MaxInflated-1<<20)})
				return 1_000, rawEvent(raw, 2, &kgo.Record{Value: make([]byte, 2<<20)})
			},
			letters: []string{"size 1 1", "size 2 999"}, folded: 1, dead: 999,
		},
		"a bomb of records": {
			make: func(*fleet) (int, []byte) {
				var raw []byte
				for i := range 17 {
					raw = rawEvent(raw, i, &kgo.Record{Value: make([]byte, broker.MaxRecord)})
				}
				return 17, raw
			},
			letters: []string{
				"size 0 0", "size 1 1", "size 2 2", "size 3 3", "size 4 4", "size 5 5", "size 6 6", "size 7 7", "size 8 8",
				"size 9 9", "size 10 10", "size 11 11", "size 12 12", "size 13 13", "size 14 14", "size 15 16",
			}, dead: 17,
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newFleet(t, 1)
			reg := prometheus.NewRegistry()
			records, raw := c.make(g)
			b, as := compressLarge(t, "zstd", raw)
			g.produceBatch("web", as, records, b[:len(b)-c.cut])
			g.Produce(g.Event(plan.Web, "canary", g.Now(), nil))
			in := g.start(fixture.Rules, vfs.NewMem(), func(cfg *config.Config) { cfg.Metrics = metrics.New(reg) })
			in.caughtUp()
			in.stop()
			g.wantRefused(c.letters...)
			if folded, dead, _ := g.Totals(); folded != c.folded+1 || dead != c.dead {
				t.Errorf("folded %d, dead letters %d; want %d, %d", folded, dead, c.folded+1, c.dead)
			}
			var counted float64
			for name, v := range fixture.Gather(t, reg) {
				if strings.HasPrefix(name, "segmill_dead_letters_total{") {
					counted += v
				}
			}
			if counted != float64(c.dead) {
				t.Errorf("%v dead letters by the metric, want %d", counted, c.dead)
			}
		})
	}
}

// A large batch of a transaction that was aborted is passed over; one of a transaction
// that was committed is read.
func TestLargeBatchOfTransaction(t *testing.T) {
	const n = 1_000
	g := newFleet(t, 1)
	cl := g.NewClient(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID("producer"), kgo.ProducerLinger(time.Second),
		kgo.ProducerBatchCompression(kgo.GzipCompression()), kgo.ProducerBatchMaxBytes(64<<20), kgo.MaxBufferedRecords(n+1))
	padding := strings.Repeat("the same in every event ", broker.MaxBatch/n/24+8)
	for i, commit := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit, kgo.TryAbort} {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for k := range n {
			cl.Produce(context.Background(), g.Event(plan.Web, fmt.Sprintf("c%d.%d", i, k), g.Now(), map[string]any{"attributes": map[string]string{"a": padding}}), nil)
		}
		if err := cl.Flush(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := cl.EndTransaction(context.Background(), commit); err != nil {
			t.Fatal(err)
		}
	}
	g.Produce(g.Event(plan.Web, "canary", g.Now(), nil))
	in := g.start(fixture.Rules, vfs.NewMem(), nil)
	in.caughtUp()
	in.stop()
	g.wantRefused()
	if folded, _, _ := g.Totals(); folded != n+1 {
		t.Errorf("folded %d", folded)
	}
	for _, m := range g.Members() {
		if !strings.HasPrefix(m, "c1.") && !strings.HasPrefix(m, "canary") {
			t.Fatalf("%s is of an aborted transaction", m)
		}
	}
}
