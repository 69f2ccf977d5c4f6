package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/bench/internal/job"
	"github.com/segmill/segmill/bench/internal/side"
)

// mode is what is done with each event; everything else is the same.
type mode interface {
	// begin is called with the position of a partition and what else was stored with
	// it, nil if it is new.
	begin(part int32, extra []byte) error
	// event takes one event of a partition.
	event(part int32, d *job.Decoded) error
	// finish does what is left when the inputs have been read, one step a call; false
	// when nothing is.
	finish() (bool, error)
	// position appends what is to be stored with the position of a partition.
	position(b []byte, part int32) []byte
}

// transaction is how many events go into one.
const transaction = 10_000

// loop is one client, one goroutine and one store. A transaction holds the change
// records, a changelog record of each changed customer, and the positions; when it
// has committed, the same goes to Pebble in one batch.
type loop struct {
	ctx   context.Context
	cl    *kgo.Client
	db    *pebble.DB
	mode  mode
	topic string // of the changes

	next, end [side.Partitions]int64
	moved     [side.Partitions]bool

	steps   int         // in this transaction
	dirty   []*customer // changed in it
	arena   []byte      // memory of its records
	records []kgo.Record
	failed  error // of a record

	result side.Result
}

// customer is what the loop knows of one, whatever the mode.
type customer struct {
	id    []byte
	part  int32
	dirty bool
	state
}

// state is a customer's state in one mode.
type state interface{ encode(b []byte) []byte }

// newLoop asks where the inputs end.
func newLoop(ctx context.Context, cl *kgo.Client, db *pebble.DB) (*loop, error) {
	l := &loop{ctx: ctx, cl: cl, db: db, records: make([]kgo.Record, 0, 4*transaction)}
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, side.Input)
	if err != nil {
		return nil, err
	}
	for p := range l.end {
		o, ok := ends.Lookup(side.Input, int32(p))
		if !ok || o.Err != nil {
			return nil, fmt.Errorf("end of %s/%d: %w", side.Input, p, o.Err)
		}
		l.end[p] = o.Offset
	}
	return l, nil
}

// run reads the inputs to the end they had at the start.
func (l *loop) run() error {
	if err := l.resume(); err != nil {
		return err
	}
	for !l.exhausted() {
		fs := l.cl.PollRecords(l.ctx, transaction-l.steps)
		if err := fs.Err(); err != nil {
			return err
		}
		for i := range fs {
			for j := range fs[i].Topics {
				for k := range fs[i].Topics[j].Partitions {
					if err := l.take(&fs[i].Topics[j].Partitions[k]); err != nil {
						return err
					}
				}
			}
		}
		if l.steps >= transaction {
			if err := l.commit(); err != nil {
				return err
			}
		}
	}
	for {
		more, err := l.mode.finish()
		if err != nil {
			return err
		}
		if l.steps++; !more || l.steps >= transaction {
			if err := l.commit(); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
	}
}

// take takes the records of one partition.
func (l *loop) take(p *kgo.FetchPartition) error {
	var d job.Decoded
	for _, r := range p.Records {
		if r.Offset >= l.end[p.Partition] {
			break
		}
		if !job.Decode(r.Value, &d) {
			return fmt.Errorf("record %d/%d can't be decoded", p.Partition, r.Offset)
		}
		if err := l.mode.event(p.Partition, &d); err != nil {
			return err
		}
		l.next[p.Partition] = r.Offset + 1
		l.moved[p.Partition] = true
		l.steps++
		l.result.Events++
	}
	return nil
}

func (l *loop) exhausted() bool { return l.next == l.end }

// touch notes that a customer has changed.
func (l *loop) touch(c *customer) {
	if !c.dirty {
		c.dirty = true
		l.dirty = append(l.dirty, c)
	}
}

// change sends a change record: the bytes of the arena from a place on.
func (l *loop) change(c *customer, from int) {
	l.result.Changes++
	l.produce(l.topic, c.part, c.id, l.arena[from:])
}

func (l *loop) produce(topic string, part int32, key, value []byte) {
	if len(l.records) == cap(l.records) { // those in flight stay where they are
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

// commit ends the transaction, stores what it changed and begins the next one.
func (l *loop) commit() error {
	batch := l.db.NewBatch()
	defer batch.Close()
	write := func(part int32, key []byte, from int) error {
		value := l.arena[from:len(l.arena):len(l.arena)]
		l.produce(side.Changelog, part, key, value)
		l.result.Changelog++
		return batch.Set(key, value, nil)
	}
	for _, c := range l.dirty {
		from := len(l.arena)
		l.arena = c.encode(l.arena)
		if err := write(c.part, c.id, from); err != nil {
			return err
		}
		c.dirty = false
	}
	for p := range l.moved {
		if !l.moved[p] {
			continue
		}
		from := len(l.arena)
		l.arena = binary.BigEndian.AppendUint64(l.arena, uint64(l.next[p]))
		l.arena = l.mode.position(l.arena, int32(p))
		if err := write(int32(p), positionKey(int32(p)), from); err != nil {
			return err
		}
		l.result.Changelog-- // not a customer
	}
	err := l.cl.Flush(l.ctx)
	if err = errors.Join(err, l.failed); err == nil {
		err = l.cl.EndTransaction(l.ctx, kgo.TryCommit)
	}
	if err == nil {
		err = batch.Commit(pebble.NoSync)
	}
	if err == nil {
		err = l.cl.BeginTransaction()
	}
	l.steps, l.dirty, l.arena, l.records, l.moved = 0, l.dirty[:0], l.arena[:0], l.records[:0], [side.Partitions]bool{}
	return err
}

func positionKey(part int32) []byte { return []byte{'p', '/', byte(part)} }

// resume begins where the store says.
func (l *loop) resume() error {
	from := map[int32]kgo.Offset{}
	for p := range int32(side.Partitions) {
		v, closer, err := l.db.Get(positionKey(p))
		var extra []byte
		switch {
		case err == nil:
			l.next[p], extra = int64(binary.BigEndian.Uint64(v)), v[8:]
		case !errors.Is(err, pebble.ErrNotFound):
			return err
		}
		if err := l.mode.begin(p, extra); err != nil {
			return err
		}
		if closer != nil {
			closer.Close()
		}
		from[p] = kgo.NewOffset().At(l.next[p])
	}
	l.cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{side.Input: from})
	return l.cl.BeginTransaction()
}

// stored returns the bytes of a customer that is met for the first time; closer is
// nil if there are none.
func (l *loop) stored(id []byte) (b []byte, closer io.Closer, err error) {
	b, c, err := l.db.Get(id)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil, nil
	}
	return b, c, err
}
