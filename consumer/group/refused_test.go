package group

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
)

// produceBatch writes a batch to partition 0 of a topic as it is given: n records
// that it claims, in raw, which is compressed by a codec.
func (g *fleet) produceBatch(topic string, codec kgo.CompressionCodecType, n int, raw []byte) {
	g.Helper()
	now := g.Now().UnixMilli()
	batch := kmsg.RecordBatch{
		Length: int32(49 + len(raw)), PartitionLeaderEpoch: -1, Magic: 2, Attributes: int16(codec), LastOffsetDelta: int32(n - 1),
		FirstTimestamp: now, MaxTimestamp: now, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: int32(n), Records: raw,
	}
	b := batch.AppendTo(nil)
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 10_000
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic, rt.TopicID = topic, g.Broker.TopicInfo(topic).TopicID
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Records = b
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(context.Background(), g.Client.Broker(int(g.Broker.LeaderFor(topic, 0))))
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		g.Fatal(err)
	}
}

// compress compresses as a producer would.
func compress(t testing.TB, codec kgo.CompressionCodec, raw []byte) ([]byte, kgo.CompressionCodecType) {
	t.Helper()
	c, err := kgo.DefaultCompressor(codec)
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	b, as := c.Compress(&buf, raw)
	return slices.Clone(b), as
}

var codecs = map[string]kgo.CompressionCodec{
	"gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

// A batch that can't be decoded is one dead letter that names its records, and counts
// as many as it claims; a record that is too large is one by itself. What stands behind
// them is read.
func TestRefusedBatches(t *testing.T) {
	for name, codec := range codecs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newFleet(t, 1)
			bomb, as := compress(t, codec, fixture.RawRecords(make([]byte, broker.MaxRecord), nil, nil))
			g.produceBatch("web", as, 3, bomb)
			g.Produce(g.Event(plan.Web, "anna", g.Now(), nil))
			broken, as := compress(t, codec, fixture.RawRecords([]byte("a value"), nil))
			g.produceBatch("web", as, 2, broken[:len(broken)/2])
			g.produceBatch("web", as, 1, []byte("nothing that this codec has made"))
			in := g.start(fixture.Rules, vfs.NewMem(), nil)
			g.Produce(g.Event(plan.Web, "anna", g.Now(), nil), g.Event(plan.Purchase, "anna", g.Now(), nil))
			in.caughtUp()
			g.wantRefused("size 0 0", "format 1 ", "format 2 ", "batch 4 5", "batch 6 6")
			in.stop()
			if got := g.Members(); !slices.Equal(got, []string{"anna browsing", "anna buyer"}) {
				t.Errorf("%v", got)
			}
			if folded, dead, _ := g.Totals(); folded != 3 || dead != 6 {
				t.Errorf("folded %d, dead letters %d", folded, dead)
			}
		})
	}
	// Records that are not what a batch is to hold. Brokers that look at records
	// do not take them; some do not look. The client goes on by itself where
	// something stands behind them, so here nothing does at first.
	value := []byte("{")
	whole := fixture.RawRecords(value, value, value)
	for name, c := range map[string]struct {
		claimed int
		raw     []byte
		want    []string
	}{
		"fewer":   {4, whole, []string{"format 0 ", "format 1 ", "format 2 ", "batch 3 3"}},
		"cut off": {3, whole[:len(whole)-2], []string{"format 0 ", "format 1 ", "batch 2 2"}},
		"none":    {2, nil, []string{"batch 0 1"}},
		"length":  {1, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 1}, []string{"batch 0 0"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newFleet(t, 1)
			in := g.start(fixture.Rules, vfs.NewMem(), nil)
			in.ready()
			g.produceBatch("web", kgo.CodecNone, c.claimed, c.raw)
			g.Eventually("dead letters", func() bool { return len(g.Read(rig.App + ".dlq")[0]) == len(c.want) })
			g.Produce(g.Event(plan.Web, "anna", g.Now(), nil))
			in.caughtUp()
			in.stop()
			g.wantRefused(c.want...)
			if got := g.Members(); !slices.Equal(got, []string{"anna browsing"}) {
				t.Errorf("%v", got)
			}
		})
	}
}

// wantRefused wants dead letters, "cause first last", the last offset only of
// batches.
func (g *fleet) wantRefused(want ...string) {
	g.Helper()
	var got []string
	for _, r := range g.Read(rig.App + ".dlq")[0] {
		h := map[string]string{}
		for _, kv := range r.Headers {
			h[kv.Key] = string(kv.Value)
		}
		got = append(got, fmt.Sprintf("%s %s %s", h["dlq.cause"], h["dlq.offset"], h["dlq.last_offset"]))
		if h["dlq.topic"] != "web" || h["dlq.error"] == "" {
			g.Errorf("dead letter %v", h)
		}
	}
	if !slices.Equal(got, want) {
		g.Errorf("dead letters %q, want %q", got, want)
	}
}

// One small answer of a broker can hold many batches that are large only once
// they are decompressed. They are not all in memory at once.
func TestManyLargeBatches(t *testing.T) {
	g := newFleet(t, 1)
	const n = 40
	large, as := compress(t, codecs["zstd"], fixture.RawRecords(make([]byte, broker.MaxBatch-100)))
	for range n {
		g.produceBatch("web", as, 1, large)
	}
	in := g.start(fixture.Rules, vfs.NewMem(), nil)
	in.ready()
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	most := uint64(0)
	// Collecting garbage takes what the process holds by then, so there is a bound on how
	// much of the time it may take.
	next := time.Now()
	g.Eventually("dead letters", func() bool {
		if start := time.Now(); start.After(next) {
			runtime.GC()
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc)
			next = time.Now().Add(2 * time.Since(start))
		}
		return in.o.Status().Tasks[0].DeadLetters == n
	})
	in.stop()
	if most -= min(most, before.HeapAlloc); most > n*broker.MaxBatch/2 {
		t.Errorf("%d MiB in use for %d batches of %d MiB", most>>20, n, broker.MaxBatch>>20)
	}
}
