package erasure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/schemas"
)

// Erased is what became of requested erasures.
type Erased struct {
	ids      []string
	wait     time.Duration
	receipts map[string]receipt
	err      error // why receipts were not read
	source   string
	cl       *kgo.Client
}

// receipt is what the receipt of a customer says.
type receipt struct{ known, said bool }

// begin notes where the topic of changes ends: receipts come after that.
func (e *Erased) begin(ctx context.Context, conf *app.Config, kafka []kgo.Opt) {
	e.source = "/segmill/" + conf.App
	e.err = func() error {
		cl, err := kgo.NewClient(kafka...)
		if err != nil {
			return err
		}
		defer cl.Close()
		topic := conf.Topics.Changes
		ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
		if err == nil {
			err = ends.Error()
		}
		if err != nil {
			return fmt.Errorf("topic %s: %w", topic, err)
		}
		from := map[int32]kgo.Offset{}
		ends.Each(func(o kadm.ListedOffset) { from[o.Partition] = kgo.NewOffset().At(o.Offset) })
		e.cl, err = kgo.NewClient(append(kafka[:len(kafka):len(kafka)],
			kgo.FetchIsolationLevel(kgo.ReadCommitted()),
			kgo.DisableFetchSessions(), // see Cluster.ConsumerOptions
			kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))...)
		return err
	}()
}

func (e *Erased) close() {
	if e.cl != nil {
		e.cl.Close()
	}
}

// read reads receipts until all are there or the time is over.
func (e *Erased) read(ctx context.Context) {
	if e.cl == nil || e.err != nil {
		return
	}
	reader, err := schemas.NewReceipts()
	if err != nil {
		e.err = err
		return
	}
	asked := make(map[string]bool, len(e.ids))
	for _, id := range e.ids {
		asked[id] = true
	}
	ctx, cancel := context.WithTimeout(ctx, e.wait)
	defer cancel()
	for len(e.receipts) < len(asked) && ctx.Err() == nil {
		fetches := e.cl.PollFetches(ctx)
		for _, f := range fetches.Errors() {
			if !errors.Is(f.Err, context.DeadlineExceeded) && !errors.Is(f.Err, context.Canceled) {
				e.err = fmt.Errorf("%s/%d: %w", f.Topic, f.Partition, f.Err)
				return
			}
		}
		fetches.EachRecord(func(r *kgo.Record) {
			id := string(r.Key)
			if _, have := e.receipts[id]; have || !asked[id] || header(r, "ce_type") != schemas.ReceiptType || header(r, "ce_source") != e.source {
				return
			}
			var got receipt
			got.known, got.said = reader.Known(r.Value)
			e.receipts[id] = got
		})
	}
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// Report writes who was not known, and a summary. It returns an error if receipts
// were waited for and not all have come.
func (e *Erased) Report(out io.Writer) error {
	if e.wait == 0 {
		_, err := fmt.Fprintf(out, "%s requested; not waiting for receipts\n", app.Plural(len(e.ids), "erasure"))
		return err
	}
	var known, unknown, silent int
	var werr error
	for _, id := range e.ids {
		r, ok := e.receipts[id]
		switch {
		case !ok:
			continue
		case !r.said:
			silent++
		case r.known:
			known++
		default:
			unknown++
			_, err := fmt.Fprintf(out, "%s: not known, nothing to erase\n", id)
			werr = errors.Join(werr, err)
		}
	}
	summary := fmt.Sprintf("%s requested: %d of known customers, %d of unknown customers", app.Plural(len(e.ids), "erasure"), known, unknown)
	if silent > 0 {
		summary += fmt.Sprintf(", %d by an older engine that does not say which", silent)
	}
	if _, err := fmt.Fprintln(out, summary); err != nil || werr != nil {
		return errors.Join(werr, err)
	}
	missing := len(e.ids) - len(e.receipts)
	switch {
	case missing == 0:
		return nil
	case e.err != nil:
		return fmt.Errorf("%s not received: %w", app.Plural(missing, "receipt"), e.err)
	}
	return fmt.Errorf("%s not received within %s: the requests are in the topic and will be carried out when the engine reads them; is it running?", app.Plural(missing, "receipt"), e.wait)
}
