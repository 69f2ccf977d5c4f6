// Command floor is what the job of bench/limit costs without doing it: consume,
// decode, and produce as many records of the same sizes as `limit buckets` does, in
// transactions of the same size. No state, no rules.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/bench/internal/job"
	"github.com/segmill/segmill/bench/internal/side"
)

// Of `limit buckets`: events in a transaction, and bytes of a customer's state and of
// a change without the customer and the event.
const (
	transaction = 10_000
	stateBytes  = 380
	changeBytes = 16 + 1 + 4 + 4 + 8 + 1
)

func main() {
	var f side.Flags
	brokers := flag.String("brokers", "127.0.0.1:9092", "address of the broker")
	changelog := flag.Float64("changelog", 0.95, "changelog records an event")
	changes := flag.Float64("changes", 0.53, "change records an event")
	f.Register(flag.CommandLine)
	flag.Parse()
	side.Main("floor", &f, func(ctx context.Context) (side.Result, error) {
		l := loop{ctx: ctx, changelog: *changelog, changes: *changes}
		err := l.run(*brokers)
		return l.result, err
	})
}

type loop struct {
	ctx                context.Context
	cl                 *kgo.Client
	changelog, changes float64 // records an event

	next, end [side.Partitions]int64
	steps     int
	arena     []byte
	records   []kgo.Record
	failed    error
	result    side.Result
}

func (l *loop) run(brokers string) error {
	var err error
	l.cl, err = kgo.NewClient(
		kgo.SeedBrokers(brokers),
		kgo.TransactionalID("floor"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MaxBufferedRecords(1<<20),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.ConsumePartitions(start()),
	)
	if err != nil {
		return err
	}
	defer l.cl.Close()
	ends, err := kadm.NewClient(l.cl).ListEndOffsets(l.ctx, side.Input)
	if err != nil {
		return err
	}
	for p := range l.end {
		o, ok := ends.Lookup(side.Input, int32(p))
		if !ok || o.Err != nil {
			return fmt.Errorf("end of %s/%d: %w", side.Input, p, o.Err)
		}
		l.end[p] = o.Offset
	}
	l.records = make([]kgo.Record, 0, 4*transaction)
	if err := l.cl.BeginTransaction(); err != nil {
		return err
	}
	for l.next != l.end {
		fs := l.cl.PollRecords(l.ctx, transaction-l.steps)
		if err := fs.Err(); err != nil {
			return err
		}
		fs.EachPartition(func(p kgo.FetchTopicPartition) { l.take(&p.FetchPartition) })
		if l.steps >= transaction || l.next == l.end {
			if err := l.commit(); err != nil {
				return err
			}
		}
	}
	return nil
}

func start() map[string]map[int32]kgo.Offset {
	from := map[int32]kgo.Offset{}
	for p := range int32(side.Partitions) {
		from[p] = kgo.NewOffset().AtStart()
	}
	return map[string]map[int32]kgo.Offset{side.Input: from}
}

func (l *loop) take(p *kgo.FetchPartition) {
	var d job.Decoded
	for _, r := range p.Records {
		if !job.Decode(r.Value, &d) {
			l.failed = fmt.Errorf("record %d/%d can't be decoded", p.Partition, r.Offset)
			return
		}
		l.next[p.Partition] = r.Offset + 1
		l.steps++
		l.result.Events++
		n := float64(l.result.Events)
		if float64(l.result.Changelog) < n*l.changelog {
			l.result.Changelog++
			l.produce(side.Changelog, p.Partition, d.Customer, l.state(&d))
		}
		if float64(l.result.Changes) < n*l.changes {
			l.result.Changes++
			l.produce(side.Bits, p.Partition, d.Customer, l.change(&d))
		}
	}
}

// state makes a value of the size of a customer's state, with as many days that are
// not zero as one has who buys every four days.
func (l *loop) state(d *job.Decoded) []byte {
	from := len(l.arena)
	l.arena = append(l.arena, make([]byte, stateBytes)...)
	v := l.arena[from:]
	binary.LittleEndian.PutUint64(v, uint64(d.At))
	for i := 20; i+12 <= len(v); i += 48 {
		v[i] = 1
		binary.LittleEndian.PutUint64(v[i+4:], uint64(d.Revenue+int64(i)*d.At%9973))
	}
	return v
}

func (l *loop) change(d *job.Decoded) []byte {
	from := len(l.arena)
	l.arena = append(l.arena, make([]byte, changeBytes)...)
	v := l.arena[from:]
	binary.LittleEndian.PutUint64(v, uint64(d.At)*0x9e3779b97f4a7c15)
	binary.LittleEndian.PutUint64(v[8:], uint64(d.Revenue)*0x9e3779b97f4a7c15)
	binary.LittleEndian.PutUint64(v[24:], uint64(d.At))
	l.arena = append(append(l.arena, d.Customer...), d.ID...)
	return l.arena[from:]
}

func (l *loop) produce(topic string, part int32, key, value []byte) {
	if len(l.records) == cap(l.records) {
		l.records = make([]kgo.Record, 0, cap(l.records))
	}
	l.records = append(l.records, kgo.Record{Topic: topic, Partition: part, Key: key, Value: value})
	l.cl.Produce(l.ctx, &l.records[len(l.records)-1], l.produced)
}

func (l *loop) produced(_ *kgo.Record, err error) {
	if err != nil && l.failed == nil {
		l.failed = err
	}
}

func (l *loop) commit() error {
	err := errors.Join(l.cl.Flush(l.ctx), l.failed)
	if err == nil {
		err = l.cl.EndTransaction(l.ctx, kgo.TryCommit)
	}
	if err == nil && l.next != l.end {
		err = l.cl.BeginTransaction()
	}
	l.steps, l.arena, l.records = 0, l.arena[:0], l.records[:0]
	return err
}
