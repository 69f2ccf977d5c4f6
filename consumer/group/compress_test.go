package group

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
	"github.com/segmill/segmill/schemas"
)

// Outputs are compressed as is configured and carry the headers that are, in the same
// transactions in which the engine's own topics are compressed with Snappy.
func TestOutputCompression(t *testing.T) {
	for _, c := range []struct {
		name     string
		codec    kgo.CompressionCodec
		want     kgo.CompressionCodecType
		format   schemas.Format
		set      schemas.HeaderSet
		headers  int
		delivery config.Delivery
	}{
		{"none", kgo.NoCompression(), kgo.CodecNone, schemas.JSON, schemas.CloudEventsHeaders, 5, config.ExactlyOnce},
		{"gzip", kgo.GzipCompression(), kgo.CodecGzip, schemas.Avro, schemas.NoHeaders, 0, config.ExactlyOnce},
		{"gzip without transactions", kgo.GzipCompression(), kgo.CodecGzip, schemas.JSON, schemas.NoHeaders, 0, config.AtLeastOnce},
		{"snappy", kgo.SnappyCompression(), kgo.CodecSnappy, schemas.JSON, schemas.IDHeaders, 1, config.ExactlyOnce},
		{"lz4", kgo.Lz4Compression(), kgo.CodecLz4, schemas.JSON, schemas.CloudEventsHeaders, 5, config.ExactlyOnce},
		{"zstd", kgo.ZstdCompression(), kgo.CodecZstd, schemas.Avro, schemas.CloudEventsHeaders, 5, config.ExactlyOnce},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := newFleet(t, 2)
			g.Delivery = c.delivery
			now := g.Now()
			var records []*kgo.Record
			for i := range 300 {
				r := g.Event(plan.Purchase, fmt.Sprintf("c/%d", i), now, nil) // as keys of the changelog begin
				if i < 100 {
					r.Partition = 1 - r.Partition // to be forwarded
				}
				if i >= 200 {
					r.Value = fmt.Append(nil, "no event ", i)
				}
				records = append(records, r)
			}
			g.Produce(records...)
			in := g.start(fixture.Rules, vfs.NewMem(), func(cfg *config.Config) {
				cfg.Compression, cfg.Headers = c.codec, c.set
				var err error
				if cfg.Encoder, err = schemas.NewEncoder(c.format, rig.App, schemas.IDs{Change: 3, Trigger: 4}); err != nil {
					t.Fatal(err)
				}
			})
			in.ready() // the topics are there
			g.Eventually("everything is emitted", func() bool { return g.count("changes") >= 200 })
			in.stop()
			g.compressedWith("changes", c.want, c.headers)
			for _, own := range []string{".changelog", ".repartition", ".dlq"} {
				g.compressedWith(rig.App+own, kgo.CodecSnappy, -1)
			}
		})
	}
}

func (g *fleet) count(topic string) (n int) {
	for _, l := range g.Read(topic) {
		n += len(l)
	}
	return n
}

// compressedWith checks that records of a topic came in batches of one compression;
// batches that do not become smaller are not compressed. headers is how many a record
// has, -1 if that does not matter.
func (g *fleet) compressedWith(topic string, want kgo.CompressionCodecType, headers int) {
	g.Helper()
	seen := map[kgo.CompressionCodecType]int{}
	for _, l := range g.Read(topic) {
		for _, r := range l {
			if r.Attrs.IsControl() {
				continue
			}
			seen[kgo.CompressionCodecType(r.Attrs.CompressionType())]++
			if headers >= 0 && len(r.Headers) != headers {
				g.Errorf("%s: headers %v", topic, r.Headers)
			}
		}
	}
	delete(seen, kgo.CodecNone)
	if want == kgo.CodecNone && len(seen) == 0 {
		return
	}
	if len(seen) != 1 || seen[want] == 0 {
		g.Errorf("%s: records by compression: %v, want %d", topic, seen, want)
	}
}
