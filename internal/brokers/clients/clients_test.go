//go:build brokers

package clients

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/internal/brokers/judge"
)

// Every client writes with its default partitioner, and every client reads the
// outputs, committed records only. Each customer enters both segments once.
func TestClients(t *testing.T) {
	const app = "clients"
	const events, want = purchases * customers, 2 * customers // of each producer
	createTopics(t, app+".purchase", app+".changes", app+".triggers")
	aborted(t, app+".changes")
	e := startEngine(t, app, servers(), "output: {format: json}\n")
	for _, p := range producers {
		t.Run("write/"+p.name, func(t *testing.T) { produce(t, p, app+".purchase") })
	}
	input := collect(t, app+".purchase", events*len(producers))
	changes := collect(t, app+".changes", want*len(producers))
	collectAs(t, kgo.ReadUncommitted(), app+".changes", len(changes)+partitions) // what was aborted is there to be seen
	t.Run("forwarded", func(t *testing.T) { forwarded(t, app, input) })
	t.Run("judge", func(t *testing.T) { judged(t, app, input) })

	var all, values []string
	for _, r := range changes {
		all = append(all, string(r.Key)+"\t"+string(r.Value))
		values = append(values, string(r.Value))
	}
	all, values = lines(strings.Join(all, "\n")), lines(strings.Join(values, "\n"))
	for _, r := range readers {
		t.Run("read/"+r.name, func(t *testing.T) {
			got, err := read(t, r, app+".changes")
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, all)
		})
	}
	t.Run("read/connect-file-sink", func(t *testing.T) {
		texts, objects := sink(t, app+".changes", len(changes))
		same(t, texts, values)
		if len(objects) != len(changes) || !strings.Contains(objects[0], "change_id=") {
			t.Errorf("%d objects, the first %s", len(objects), objects[0])
		}
	})
	e.stop(t)
}

// aborted writes a record to each partition that no reader of committed records
// may see.
func aborted(t *testing.T, topic string) {
	t.Helper()
	cl, _ := admin(t, kgo.TransactionalID("aborted"), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.UnknownTopicRetries(-1))
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for p := range int32(partitions) {
		r := &kgo.Record{Topic: topic, Partition: p, Key: []byte("aborted"), Value: []byte(`{"change_id":"aborted"}`)}
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if err := cl.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
}

// forwarded checks that records on other partitions than murmur2's were forwarded,
// those alone, and that it is the clients with another partitioner who send them.
func forwarded(t *testing.T, app string, input []*kgo.Record) {
	hash := kgo.StickyKeyPartitioner(nil).ForTopic("")
	astray := map[string]int{}
	total := 0
	for _, r := range input {
		if int32(hash.Partition(&kgo.Record{Key: r.Key}, partitions)) != r.Partition {
			astray[name(r)]++
			total++
		}
	}
	for _, r := range collect(t, app+".repartition", total) {
		astray[name(r)]--
	}
	for client, left := range astray {
		if left != 0 {
			t.Errorf("%s: %d records astray were not forwarded", client, left)
		}
	}
	for _, p := range producers {
		if _, found := astray[p.name]; found != p.foreign {
			t.Errorf("%s: on other partitions than Kafka's default puts them: %t, want %t", p.name, found, p.foreign)
		}
	}
	t.Logf("%d of %d records forwarded", total, len(input))
}

// name returns the client that wrote a record.
func name(r *kgo.Record) string {
	who := string(r.Key)
	return who[:strings.LastIndexByte(who, '-')]
}

// judged lets the independent judge count.
func judged(t *testing.T, app string, input []*kgo.Record) {
	acked := filepath.Join(t.TempDir(), "acked.jsonl")
	f, err := os.Create(acked)
	if err != nil {
		t.Fatal(err)
	}
	enc := json.NewEncoder(f)
	for _, r := range input {
		if err := enc.Encode(map[string]any{
			"topic": r.Topic, "partition": r.Partition, "offset": r.Offset,
			"timestamp_ms": r.Timestamp.UnixMilli(), "key": string(r.Key), "value": string(r.Value),
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	rules, err := filepath.Abs("testdata/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	out, err := judge.Run(t.Context(), "--brokers", servers(), "--changes", app+".changes", "--triggers", app+".triggers",
		"--dlq", app+".dlq", "--acked", acked, "--rules", rules, "--settle", "60")
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	t.Log(out)
}
