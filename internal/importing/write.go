package importing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/consumer/imports"
	"github.com/segmill/segmill/consumer/ledger"
	"github.com/segmill/segmill/consumer/ruled"
	"github.com/segmill/segmill/consumer/topics"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/internal/failpoint"
)

// Target is where an import is written.
type Target struct {
	Cluster    *broker.Cluster
	Topic      string // which exists
	Partitions int32
	// IsInput reports whether a topic is one of the application's inputs.
	IsInput   func(topic string) bool
	changelog string
	Now       func() time.Time
	// Progress is called after each transaction, by one goroutine; nil: nobody looks.
	Progress func(Progress)
	OnPanic  func() // see Options
	// Points are where tests let the writing die. A release has none.
	Points failpoint.Points

	records int // in a transaction; 0: perTransaction
}

// Connect prepares the topic of an application, and returns it as a target. Close it.
func Connect(ctx context.Context, c *config.Config) (*Target, error) {
	cluster, err := c.Connect()
	if err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	n, err := (&topics.Set{Config: c, Cluster: cluster}).PrepareHistory(ctx)
	if err != nil {
		cluster.Close()
		return nil, err
	}
	return &Target{Cluster: cluster, Topic: c.History(), Partitions: n, IsInput: c.IsInput, Now: c.Now, changelog: c.Changelog()}, nil
}

// Close closes the connections.
func (t *Target) Close() { t.Cluster.Close() }

// Begun reports whether the application has read anything yet: then it does not read imports
// as it does its inputs.
func (t *Target) Begun(ctx context.Context) (bool, error) {
	parts, err := (&ruled.Reader{Cluster: t.Cluster, Topic: t.changelog}).Partitions(ctx)
	return slices.ContainsFunc(parts, func(p ruled.Partition) bool { return !p.Empty }), err
}

// Written is what became of an import.
type Written struct {
	// Already: it was complete before.
	Already bool
	// Before is how many records an earlier run had written, and Records how many there are
	// now.
	Before, Records int64
}

// ErrFenced is returned when another import of the application has begun meanwhile.
var ErrFenced = errors.New("another segmill import of the application has begun, or the brokers have given up the last transaction")

// How much is in a transaction at most, and for how long brokers wait for its end.
const (
	perTransaction   = 100_000
	transactionBytes = 24 << 20
	transactionTime  = time.Minute
)

// batchBytes is how large a batch is at most. It holds any record, and the topic takes it (see
// topics.PrepareHistory).
const batchBytes = topics.CopiedBytes / 2

// Write writes what was sorted, or the rest of it if an earlier run was interrupted. After an
// error the same files can be imported again.
func (s *Sorted) Write(ctx context.Context, to Target) (Written, error) {
	w := &writer{sorted: s, to: &to, marks: make([]imports.Mark, s.partitions)}
	// Whoever is at work is not disturbed by an import that would be refused.
	if done, err := w.look(ctx); done || err != nil {
		return Written{Already: done, Before: w.before, Records: w.before}, err
	}
	l, err := w.open(ctx)
	if err != nil {
		return Written{}, err
	}
	defer l.Close()
	// 1. Another import looks, and finds nothing.
	// 2. We look, and find nothing.
	// 3. It begins, and writes.
	// 4. We begin, and keep it out: what it has committed by now is seen only by looking
	//    again.
	if done, err := w.look(ctx); done || err != nil {
		return Written{Already: done, Before: w.before, Records: w.before}, err
	}
	err = w.write(ctx, l)
	switch {
	case ledger.IsFenced(err):
		err = fmt.Errorf("%w: %w", ErrFenced, err)
	case errors.Is(err, kerr.InvalidTimestamp):
		err = fmt.Errorf("the brokers are configured to refuse records of that age: give %s message.timestamp.before.max.ms=%d (before Kafka 3.6: message.timestamp.difference.max.ms): %w", to.Topic, int64(math.MaxInt64), err)
	}
	return Written{Before: w.before, Records: w.done}, err
}

// writer writes an import.
type writer struct {
	sorted *Sorted
	to     *Target
	last   []*imports.Last // of the partitions, before
	skip   []int64         // how many records of each partition are there already
	before int64           // the sum of skip
	done   int64           // records that are in the topic
	marks  []imports.Mark
}

// open keeps other imports of the application out.
func (w *writer) open(ctx context.Context) (*ledger.Transactions, error) {
	compressor, err := broker.NewCompressor(kgo.NoCompression(), broker.NoOutputs)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, broker.RequestTimeout)
	defer cancel()
	return ledger.NewTransactions(ctx, w.sorted.app+".import", transactionTime, ledger.Options{
		Cluster: w.to.Cluster, Topic: w.to.Topic, Compressor: compressor, Dated: true, Points: w.to.Points,
		BatchBytes: func(string) int32 { return batchBytes },
	})
}

// look finds out what of the import is there already. It is an error if another one is not
// complete.
func (w *writer) look(ctx context.Context) (done bool, err error) {
	w.last, w.skip, w.before = nil, nil, 0
	complete := 0
	for p := range w.sorted.partitions {
		l, err := imports.LastOf(ctx, w.to.Cluster, w.to.Topic, p)
		if err != nil {
			return false, err
		}
		if l.Mark.Has(w.sorted.ID) {
			complete++
		}
		w.last = append(w.last, l)
	}
	switch complete {
	case int(w.sorted.partitions):
		w.before = w.sorted.Counts.Events
		return true, nil
	case 0:
	default:
		return false, fmt.Errorf("%s says that this import is complete in %d of its %d partitions, and it can only be in all of them or in none: "+
			"somebody has deleted records from it; delete the topic, and import everything again", w.to.Topic, complete, w.sorted.partitions)
	}
	for p, l := range w.last {
		n, err := w.there(int32(p), l.Open)
		if err != nil {
			return false, err
		}
		w.skip = append(w.skip, n)
		w.before += n
	}
	return false, nil
}

// there returns how many records of a partition are there, by the last one of an import that
// is not complete; nil if there is none.
func (w *writer) there(partition int32, open *kgo.Record) (int64, error) {
	if open == nil {
		return 0, nil
	}
	if id := imports.IDOf(open); id != w.sorted.ID {
		return 0, fmt.Errorf("%s has an import, %s, that was interrupted, and this is another one, %s: finish that one first, with the same files in the same order, "+
			"the same --topic and the same mappings, and with the --now of then if events dated in the future were refused; or, if nothing in %s is needed, delete the topic", w.to.Topic, id, w.sorted.ID, w.to.Topic)
	}
	origin, bad := feed.OriginOf(open, w.to.IsInput)
	if bad != nil {
		return 0, fmt.Errorf("%s/%d@%d is no record of an import: only segmill import may write there", w.to.Topic, partition, open.Offset)
	}
	return origin.Offset + 1, nil
}

// batch is what a transaction writes. Its memory is used again once it is written.
type batch struct {
	records []*kgo.Record
	own     []kgo.Record
	headers []kgo.RecordHeader
	bytes   []byte
}

// write writes all records that are not there yet, and the marks behind them.
func (w *writer) write(ctx context.Context, l *ledger.Transactions) error {
	w.done = w.before
	ctx, stop := context.WithCancelCause(ctx)
	empty, full := make(chan *batch, 2), make(chan *batch, 1)
	for range cap(empty) {
		empty <- &batch{}
	}
	var gathering sync.WaitGroup
	gathering.Go(func() {
		if w.to.OnPanic != nil {
			defer w.to.OnPanic()
		}
		defer close(full)
		if err := w.gather(ctx, empty, full); err != nil {
			stop(err)
		}
	})
	defer gathering.Wait()
	defer stop(nil)
	for b := range full {
		if err := commit(ctx, l, b.records); err != nil {
			return err
		}
		w.done += int64(len(b.records))
		w.progress()
		empty <- b
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return w.mark(ctx, l)
}

func (w *writer) progress() {
	if w.to.Progress != nil {
		w.to.Progress(Progress{Lines: w.sorted.Counts.Lines, Refused: w.sorted.Counts.Bad(), Events: w.sorted.Counts.Events, Written: w.done, Before: w.before})
	}
}

// gather puts the records into batches, partition by partition.
func (w *writer) gather(ctx context.Context, empty, full chan *batch) error {
	m, err := newMerge(w.sorted.spill, w.sorted.spill.runs)
	if err != nil {
		return err
	}
	g := gatherer{w: w, id: []byte(w.sorted.ID), counts: make([]map[string]imports.Range, w.sorted.partitions), numbers: make([]int64, w.sorted.partitions)}
	for i := range g.counts {
		g.counts[i] = map[string]imports.Range{}
	}
	for _, topic := range w.sorted.topics {
		g.topics = append(g.topics, []byte(topic))
	}
	for _, f := range w.sorted.forms.list {
		g.forms = append(g.forms, [2][]byte{[]byte(f.mapping), []byte(f.stream)})
	}
	most := cmp.Or(w.to.records, perTransaction)
	for ended := false; !ended; {
		var b *batch
		select {
		case b = <-empty:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		b.reset()
		for len(b.own) < most && len(b.bytes) < transactionBytes {
			from := len(b.bytes)
			if b.bytes, err = m.next(b.bytes); errors.Is(err, io.EOF) {
				ended = true
				break
			}
			if err == nil {
				err = g.add(b, from)
			}
			if err != nil {
				return err
			}
		}
		for i := range b.own {
			b.records = append(b.records, &b.own[i])
		}
		if len(b.records) == 0 {
			continue
		}
		select {
		case full <- b:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	for p := range w.marks {
		if g.numbers[p] < w.skip[p] {
			return fmt.Errorf("%s/%d has %d records of this import, which has only %d there: somebody else has written to it; delete the topic, and import everything again", w.to.Topic, p, w.skip[p], g.numbers[p])
		}
		w.marks[p] = imports.Mark{Import: w.sorted.ID, Records: g.numbers[p], Topics: g.counts[p], Earlier: w.last[p].Mark.Before()}
	}
	return nil
}

func (b *batch) reset() {
	clear(b.own)
	*b = batch{records: b.records[:0], own: b.own[:0], headers: b.headers[:0], bytes: b.bytes[:0]}
}

// gatherer makes records of what was sorted.
type gatherer struct {
	w       *writer
	id      []byte
	topics  [][]byte
	forms   [][2][]byte // mapping and stream
	counts  []map[string]imports.Range
	numbers []int64 // of the next record of each partition
}

// add adds the record whose bytes are the last ones of the batch, from an index on, unless it
// is in the topic already.
func (g *gatherer) add(b *batch, from int) error {
	r, customer := parse(b.bytes[from:])
	number := g.numbers[r.partition]
	g.numbers[r.partition]++
	add(g.counts[r.partition], g.w.sorted.topics[r.source], r.at)
	if skip := g.w.skip[r.partition]; number < skip {
		b.bytes = b.bytes[:from]
		if open := g.w.last[r.partition].Open; number == skip-1 && (string(open.Key) != string(customer) || open.Timestamp.UnixMilli() != int64(r.at)) {
			return fmt.Errorf("%s/%d@%d is not the record %d of this import: somebody else has written to it; delete the topic, and import everything again", g.w.to.Topic, r.partition, open.Offset, number)
		}
		return nil
	}
	b.own = append(b.own, kgo.Record{
		Topic: g.w.to.Topic, Partition: r.partition, Key: customer, Value: r.value, Timestamp: r.at.Time(),
		Headers: g.headers(b, &r, number),
	})
	return nil
}

// headers returns the headers of a record: the import, what a mapping made of it, and, as
// feed.Origin.Headers has it, where it comes from.
func (g *gatherer) headers(b *batch, r *record, number int64) []kgo.RecordHeader {
	from := len(b.headers)
	digits := func(n int64) []byte {
		from := len(b.bytes)
		b.bytes = strconv.AppendInt(b.bytes, n, 10)
		return b.bytes[from:len(b.bytes):len(b.bytes)]
	}
	b.headers = append(b.headers, kgo.RecordHeader{Key: imports.HeaderImport, Value: g.id})
	if r.form > 0 {
		f := g.forms[r.form]
		b.headers = append(b.headers,
			kgo.RecordHeader{Key: feed.HeaderMapping, Value: f[0]},
			kgo.RecordHeader{Key: feed.HeaderStream, Value: f[1]},
			kgo.RecordHeader{Key: feed.HeaderNumber, Value: digits(int64(r.number))})
	}
	b.headers = append(b.headers,
		kgo.RecordHeader{Key: feed.HeaderTopic, Value: g.topics[r.source]},
		kgo.RecordHeader{Key: feed.HeaderPartition, Value: partition0},
		kgo.RecordHeader{Key: feed.HeaderOffset, Value: digits(number)},
		kgo.RecordHeader{Key: feed.HeaderTime, Value: digits(int64(r.at))})
	return b.headers[from:len(b.headers):len(b.headers)]
}

// partition0 is the partition that every imported record says it is of.
var partition0 = []byte("0")

// mark writes the marks of all partitions in one transaction.
func (w *writer) mark(ctx context.Context, l *ledger.Transactions) error {
	now := engine.Millis(w.to.Now().UnixMilli())
	var records []*kgo.Record
	for p := range w.marks {
		w.marks[p].At = now
		records = append(records, w.marks[p].Record(w.to.Topic, int32(p)))
	}
	return commit(ctx, l, records)
}

// commit writes records in one transaction, which may take as long as brokers wait for it.
func commit(ctx context.Context, l *ledger.Transactions, records []*kgo.Record) error {
	ctx, cancel := context.WithTimeoutCause(ctx, transactionTime, errors.New("the brokers have not taken a transaction within a minute"))
	defer cancel()
	_, err := l.Commit(ctx, records)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}
