package rig

import (
	"context"
	"errors"
	"slices"

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
	g     *Rig
	id    string
	cl    *kgo.Client
	marks []imports.Mark // by partition
}

// Import begins an import, and makes the topic if there is none. Imports have different
// numbers.
func (g *Rig) Import(number uint64) *Import {
	g.Helper()
	got, err := kadm.NewClient(g.Client).CreateTopic(context.Background(), g.Partitions, 1, nil, HistoryTopic)
	if err == nil {
		err = got.Err
	}
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		g.Fatal(err)
	}
	i := &Import{
		g: g, id: imports.ID(number), marks: make([]imports.Mark, g.Partitions),
		cl: g.NewClient(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID(App+".import")),
	}
	for p := range i.marks {
		i.marks[p] = imports.Mark{Import: i.id, At: engine.Millis(g.Now().UnixMilli()), Topics: map[string]imports.Range{}}
	}
	return i
}

// Write imports records as they would be on their inputs, with the event's time as Kafka's,
// in one transaction.
func (i *Import) Write(records ...*kgo.Record) *Import {
	i.g.Helper()
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

// Finish writes the marks.
func (i *Import) Finish() {
	i.g.Helper()
	var out []*kgo.Record
	for p := range i.marks {
		out = append(out, i.marks[p].Record(HistoryTopic, int32(p)))
	}
	i.write(out)
	i.cl.Close()
}

func (i *Import) write(records []*kgo.Record) {
	i.g.Helper()
	ctx := context.Background()
	if err := errors.Join(i.cl.BeginTransaction(), i.cl.ProduceSync(ctx, records...).FirstErr(), i.cl.EndTransaction(ctx, kgo.TryCommit)); err != nil {
		i.g.Fatal(err)
	}
}
