package lab

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/bench/internal/job"
	"github.com/segmill/segmill/bench/internal/side"
	"github.com/segmill/segmill/schemas"
)

// Load publishes a workload to side.Inputs. It returns the mean size of an event in
// bytes.
func (b *Broker) Load(ctx context.Context, w job.Workload) (mean float64, err error) {
	var ids [len(side.Inputs)]int
	for i, topic := range side.Inputs {
		if w.Format != job.Avro {
			break
		}
		if ids[i], err = b.schema(ctx, topic, job.Schemas[i]); err != nil {
			return 0, err
		}
	}
	cl, err := b.Client(kgo.MaxBufferedRecords(1 << 17))
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	var failed atomic.Pointer[error]
	var e job.Event
	var arena []byte
	total := 0
	for g := job.NewGenerator(w); g.Next(&e); {
		if len(arena)+1024 > cap(arena) {
			arena = make([]byte, 0, 1<<20)
		}
		from := len(arena)
		arena = job.AppendCustomer(arena, e.Customer)
		mid := len(arena)
		if w.Format == job.Avro {
			arena = e.Append(arena, ids[e.Stream])
		} else {
			arena = e.AppendText(arena, w.Format)
		}
		total += len(arena) - mid
		r := &kgo.Record{
			Topic: side.Inputs[e.Stream], Key: arena[from:mid:mid], Value: arena[mid:len(arena):len(arena)],
			Timestamp: time.UnixMilli(e.At),
		}
		cl.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.Store(&err)
			}
		})
	}
	if err := cl.Flush(ctx); err != nil {
		return 0, err
	}
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return float64(total) / float64(max(1, w.Events)), nil
}

// schema registers a schema for the values of a topic and returns its id.
func (b *Broker) schema(ctx context.Context, topic, name string) (int, error) {
	cl, err := b.registry()
	if err != nil {
		return 0, err
	}
	subject := schemas.Subject(topic)
	ids, err := schemas.Register(ctx, cl, map[string]string{subject: name})
	return ids[subject], err
}
