//go:build brokers

package clients

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

// stock is what clients can read without further packages, where that is not
// everything. docs/formats.md says so too.
var stock = map[string][]string{
	"aiokafka": {"none", "gzip"},
	"kafkajs":  {"none", "gzip"},
}

// What each client can read as it is installed; what it can't, it says.
func TestCompression(t *testing.T) {
	const mixed = "codecs.mixed"
	var all []string
	createTopics(t, mixed)
	for _, name := range slices.Sorted(maps.Keys(codecs)) {
		codec := codecs[name]
		topic := "codecs." + name
		createTopics(t, topic)
		want := compressed(t, topic, codec)
		all = append(all, compressed(t, mixed, codec)...)
		for _, r := range readers {
			can, limited := stock[r.name]
			if !limited {
				continue
			}
			t.Run(r.name+"/"+name, func(t *testing.T) {
				got, err := read(t, r, topic)
				if !slices.Contains(can, name) {
					if err == nil {
						t.Errorf("%d records were read of %d, without an error", len(got), len(want))
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				same(t, got, want)
			})
		}
	}
	slices.Sort(all)
	for _, r := range readers {
		if _, limited := stock[r.name]; !limited {
			t.Run(r.name, func(t *testing.T) {
				got, err := read(t, r, mixed)
				if err != nil {
					t.Fatal(err)
				}
				same(t, got, all)
			})
		}
	}
}

// compressed writes a transaction of records with a codec, and returns the lines
// that are read from it, sorted.
func compressed(t *testing.T, topic string, codec kgo.CompressionCodec) []string {
	t.Helper()
	cl, _ := admin(t, kgo.ProducerBatchCompression(codec), kgo.TransactionalID(topic), kgo.UnknownTopicRetries(-1))
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	var records []*kgo.Record
	var l []string
	for n := range 200 {
		key, value := fmt.Sprintf("k%d", n), fmt.Sprintf("%v %s", codec, strings.Repeat("again and again ", 8))
		records = append(records, &kgo.Record{Topic: topic, Key: []byte(key), Value: []byte(value)})
		l = append(l, key+"\t"+value)
	}
	if err := cl.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := cl.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	slices.Sort(l)
	return l
}
