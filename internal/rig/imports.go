package rig

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/consumer/imports"
	"github.com/segmill/segmill/engine"
)

// HistoryTopic is the topic of history.
const HistoryTopic = App + ".history"

// Import is an import of history, written as segmill import does.
type Import struct {
	id    string
	cl    *kgo.Client
	fail  func(error)
	marks []imports.Mark // by partition
}

// Import begins an import, and makes the topic if there is none. Imports have different
// numbers.
func (g *Rig) Import(number uint64) *Import {
	g.Helper()
	return NewImport(g.Kafka, g.Partitions, number, func(err error) {
		g.Helper()
		g.Fatal(err)
	})
}

// NewImport is Rig.Import of brokers without a rig. fail is called with what goes wrong.
func NewImport(kafka []kgo.Opt, partitions int32, number uint64, fail func(error)) *Import {
	i := &Import{id: imports.ID(number), fail: fail, marks: make([]imports.Mark, partitions)}
	for p := range i.marks {
		i.marks[p] = imports.Mark{Import: i.id, At: engine.Millis(time.Now().UnixMilli()), Topics: map[string]imports.Range{}}
	}
	var err error
	if i.cl, err = kgo.NewClient(append(slices.Clone(kafka), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID(App+".import"))...); err != nil {
		fail(err)
		return i
	}
	got, err := kadm.NewClient(i.cl).CreateTopic(context.Background(), partitions, 1, nil, HistoryTopic)
	if err == nil {
		err = got.Err
	}
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		fail(err)
	}
	return i
}

// Write imports records as they would be on their inputs, with the event's time as Kafka's,
// in one transaction.
func (i *Import) Write(records ...*kgo.Record) *Import {
	records = slices.Clone(records)
	slices.SortStableFunc(records, func(a, b *kgo.Record) int { return a.Timestamp.Compare(b.Timestamp) })
	var out []*kgo.Record
	for _, r := range records {
		m := &i.marks[r.Partition]
		at := engine.Millis(r.Timestamp.UnixMilli())
		of := feed.Origin{Topic: r.Topic, Offset: m.Records, At: at}
		out = append(out, &kgo.Record{
			Topic: HistoryTopic, Partition: r.Partition, Key: r.Key, Value: r.Value, Timestamp: r.Timestamp,
			Headers: of.Headers(append([]kgo.RecordHeader{{Key: imports.HeaderImport, Value: []byte(i.id)}}, r.Headers...)),
		})
		m.Records++
		has, ok := m.Topics[r.Topic]
		if !ok {
			has.First = at
		}
		has.Records, has.Last = has.Records+1, at
		m.Topics[r.Topic] = has
	}
	i.write(out)
	return i
}

// Finish writes the marks, and ends the import.
func (i *Import) Finish() {
	var out []*kgo.Record
	for p := range i.marks {
		out = append(out, i.marks[p].Record(HistoryTopic, int32(p)))
	}
	i.write(out)
	i.cl.Close()
}

func (i *Import) write(records []*kgo.Record) {
	ctx := context.Background()
	if err := errors.Join(i.cl.BeginTransaction(), i.cl.ProduceSync(ctx, records...).FirstErr(), i.cl.EndTransaction(ctx, kgo.TryCommit)); err != nil {
		i.fail(err)
	}
}
