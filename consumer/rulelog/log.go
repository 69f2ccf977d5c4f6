package rulelog

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/fault"
)

// Log is the topic.
type Log struct {
	Cluster *broker.Cluster
	Topic   string
}

// ErrAbsent is wrapped by the error of a topic that does not exist.
var ErrAbsent = errors.New("the topic does not exist")

// ErrBase is wrapped by the error of a set that replaces another one than that in force: who
// wrote it has not seen what is replaced. The error says who was faster.
var ErrBase = errors.New("the rules have been changed meanwhile")

// Read reads the log to its end.
func (l *Log) Read(ctx context.Context) (*View, error) {
	v := &View{}
	return v, l.Refresh(ctx, v)
}

// Refresh reads on from where a view ends to the end of the log.
func (l *Log) Refresh(ctx context.Context, v *View) error {
	ctx, cancel := context.WithTimeout(ctx, broker.RequestTimeout)
	defer cancel()
	infos, err := l.Cluster.Describe(ctx, l.Topic)
	if err != nil {
		return err
	}
	if err := l.usable(infos[l.Topic]); err != nil {
		return err
	}
	first, err := l.Cluster.ListOne(ctx, broker.Start, []string{l.Topic}, 0)
	if err != nil {
		return l.explain(err)
	}
	if first[l.Topic] > v.Next {
		return fault.Fatal("%s begins at offset %d: its first records were deleted, and nobody can tell which of the others count. %s", l.Topic, first[l.Topic], l.remedy())
	}
	end, err := l.Cluster.ListOne(ctx, broker.LastStable, []string{l.Topic}, 0)
	if err != nil {
		return l.explain(err)
	}
	_, err = l.Cluster.ReadRange(ctx, l.Topic, 0, v.Next, end[l.Topic], func(r *kgo.Record) error { return l.take(v, r, nil) })
	return l.explain(err)
}

// usable returns why the topic can't be used, nil if it can.
func (l *Log) usable(t broker.Topic) error {
	switch {
	case errors.Is(t.Err, kerr.UnknownTopicOrPartition):
		return fmt.Errorf("%s: %w", l.Topic, ErrAbsent)
	case t.Err != nil:
		return l.explain(t.Err)
	case t.Partitions != 1:
		return fault.Fatal("%s has %d partitions, and a log of rules has one: the order of its records decides which of them count. %s", l.Topic, t.Partitions, l.remedy())
	}
	return nil
}

// take takes a record.
func (l *Log) take(v *View, r *kgo.Record, counts func(*Entry)) error {
	e, err := v.take(r.Offset, r.Value)
	switch {
	case errors.Is(err, ErrFormat):
		return fault.Fatal("%s, offset %d: %w: use the version that wrote it, or a later one", l.Topic, r.Offset, err)
	case err != nil:
		return fault.Fatal("%s, offset %d: %w. %s", l.Topic, r.Offset, err, l.remedy())
	case e != nil && counts != nil:
		counts(e)
	}
	return nil
}

// remedy says what to do about a log that is lost.
func (l *Log) remedy() string {
	return "Restore the topic from a copy; or stop all instances, delete it, and start them with the rule files that are in force: they become set 1"
}

// explain says which right is missing, if one is.
func (l *Log) explain(err error) error {
	if errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.ClusterAuthorizationFailed) {
		return fmt.Errorf("%s: %w: the user of kafka.sasl needs READ and DESCRIBE on this topic, and WRITE to change the rules", l.Topic, err)
	}
	return err
}

// writeTimeout bounds the writing of one set.
const writeTimeout = 30 * time.Second

// Append writes a set, and returns it as it counts. It is an ErrBase if another set is in
// force than the one that it replaces, before it is written or once it is.
//
// Any other error after the writing has begun leaves open whether the set counts; so the log
// is read even then, and only what it does not show is an error.
func (l *Log) Append(ctx context.Context, d Draft) (*Entry, error) {
	v, err := l.Read(ctx)
	if err != nil {
		return nil, err
	}
	if d.Base != v.Number() {
		return nil, l.faster(v, d.Base)
	}
	stored, err := d.append(nil)
	if err != nil {
		return nil, err
	}
	var id writeID
	_, _ = rand.Read(id[:]) // never fails
	last, werr := l.write(ctx, split(id, d.Base, stored))
	if err := l.readBack(ctx, v, last); err != nil {
		return nil, errors.Join(werr, fmt.Errorf("whether set %d counts is not known, see segmill rules log: %w", d.Base+1, err))
	}
	switch e := v.Set(d.Base + 1); {
	case e != nil && e.id == id:
		return e, nil
	case e != nil:
		return nil, l.faster(v, d.Base)
	}
	if werr == nil {
		werr = errors.New("the log does not have it")
	}
	return nil, fmt.Errorf("set %d was not written: %w", d.Base+1, l.explain(werr))
}

// faster is the error of a set that replaces another one than that in force.
func (l *Log) faster(v *View, base uint64) error {
	e := v.Newest()
	if e == nil {
		return fmt.Errorf("%w: %s has no set %d, and no other", ErrBase, l.Topic, base)
	}
	return fmt.Errorf("%w: in force is %s", ErrBase, e)
}

// write writes the parts of a set in their order, and returns the offset of the last one that
// is known to be written, -1 if none is.
func (l *Log) write(ctx context.Context, parts []part) (last int64, err error) {
	last = -1
	cl, err := kgo.NewClient(append(l.Cluster.Options(),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), // the texts are compressed
		kgo.UnknownTopicRetries(1),
		kgo.RecordDeliveryTimeout(writeTimeout))...)
	if err != nil {
		return last, err
	}
	defer cl.Close()
	for i := range parts {
		r, err := cl.ProduceSync(ctx, &kgo.Record{Topic: l.Topic, Key: parts[i].key(), Value: parts[i].append(nil)}).First()
		if err != nil {
			return last, err
		}
		last = r.Offset
	}
	return last, nil
}

// readPause is how long brokers have before they are asked again for what was written.
const readPause = 50 * time.Millisecond

// readBack reads to the end of the log, which is behind an offset.
func (l *Log) readBack(ctx context.Context, v *View, last int64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	for {
		if err := l.Refresh(ctx, v); err != nil || v.Next > last {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(readPause):
		}
	}
}
