package reshard

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/ledger"
	"github.com/segmill/segmill/consumer/task"
	"github.com/segmill/segmill/consumer/topics"
	"github.com/segmill/segmill/state"
)

// Reshard moves the state of an application that is stopped to another one with
// another number of partitions. Nothing is emitted and nothing is folded: customers
// keep their bytes, and the new application goes on where the old one ended.
//
//  1. Check: nobody is in the group; every record of the inputs has been taken;
//     all partitions are under the same rules; the new application has no state.
//  2. Open: a move record in every new changelog partition. Until it is taken away
//     no instance of the new application runs.
//  3. Close: the same record in every old changelog partition, each under its
//     transactional id. From here on no instance of the old application runs, and
//     what the partition holds no longer changes.
//  4. Copy: customers to the changelog partition that is now theirs. The history
//     of customers that move goes to the new repartition topic, where a rebuild
//     looks for it.
//  5. Switch: one transaction writes the positions of all new partitions and takes
//     their move records away.
//
// Before the switch Undo opens the old application again. What dies before it can
// be begun again when the topics of the new application have been deleted.
type Reshard struct {
	// From is the old application, To the new one. The inputs of To have the new
	// number of partitions. Either its topics are others than those of From, which
	// are read from their beginning; or they are the same ones with partitions
	// added.
	From, To config.Config
	// Streams gives for each input of From the input of To that carries the same
	// stream.
	Streams map[string]string
	// Unread allows records that were not taken in inputs that To reads too.
	Unread bool
	// DryRun ends after the checks.
	DryRun bool
}

// Resharded is what a resharding did, or would do.
type Resharded struct {
	From, To  int32 // partitions
	Customers int   // 0 of a dry run
	Records   int   // of their history that were copied
	TooLarge  int   // of their history that could not be
	// Unread are the records that were not taken, by topic.
	Unread map[string]int64
}

// resharding is a Reshard on its way.
type resharding struct {
	*Reshard
	old, new *task.Instance
	parts    []*oldPart // of the old application, by partition
	move     changelog.Move
	writer   *writer        // into the new topics
	digests  []state.Digest // of the new partitions
	done     Resharded
}

// Run moves the state. An error says what to do; nothing is moved unless it
// returns nil.
func (o *Reshard) Run(ctx context.Context) (Resharded, error) {
	r, err := o.begin(ctx)
	defer r.close()
	if err != nil {
		return r.done, err
	}
	if err := r.check(ctx); err != nil || o.DryRun {
		return r.done, err
	}
	for _, step := range []func(context.Context) error{r.openNew, r.closeOld, r.copyCustomers, r.copyHistory, r.switchOver} {
		if err := step(ctx); err != nil {
			return r.done, err
		}
	}
	return r.done, nil
}

// Undo opens the old application again after a resharding that did not come to
// its end.
func (o *Reshard) Undo(ctx context.Context) error {
	r, err := o.begin(ctx)
	defer r.close()
	if err != nil {
		return err
	}
	if state, err := r.target(ctx); err != nil {
		return err
	} else if state == targetComplete {
		return fmt.Errorf("%s already has the state: it cannot be returned", o.To.App)
	}
	moved := 0
	for _, s := range r.parts {
		switch {
		case s.move == nil:
			continue
		case s.move.To != o.To.App:
			return fmt.Errorf("the state of %s was moved to %s, not to %s", o.From.App, s.move.To, o.To.App)
		}
		moved++
		var none *changelog.Move
		if err := s.inOne(ctx, []*kgo.Record{none.Record(r.old.Config.Changelog(), s.Partition)}); err != nil {
			return fmt.Errorf("open partition %d: %w", s.Partition, err)
		}
	}
	if moved == 0 {
		return fmt.Errorf("no resharding of %s is in progress", o.From.App)
	}
	return nil
}

// errNeedsTransactions is returned for an old application without transactions, whose
// former owners nothing could keep out.
var errNeedsTransactions = errors.New("resharding requires transactions: run the old configuration once with delivery: exactly_once until each partition has committed, stop it, and run this again")

// begin takes over every partition of the old application. What it returns is to
// be closed, also with an error.
func (o *Reshard) begin(ctx context.Context) (r *resharding, err error) {
	r = &resharding{Reshard: o}
	if o.From.App == o.To.App {
		return r, fmt.Errorf("both configurations have the app %s: the new one needs another name, since its changelog is another topic", o.From.App)
	}
	if o.From.Delivery != config.ExactlyOnce {
		return r, errNeedsTransactions
	}
	if r.old, err = task.NewTool(o.From); err != nil {
		return r, err
	}
	if r.new, err = task.NewTool(o.To); err != nil {
		return r, err
	}
	if err := r.nobody(ctx); err != nil {
		return r, err
	}
	// Another resharding that hangs somewhere can no longer complete.
	if err := r.makeWriter(ctx); err != nil {
		return r, err
	}
	topic := r.old.Config.Changelog()
	infos, err := r.old.Cluster.Describe(ctx, topic)
	if err != nil {
		return r, err
	}
	if err := infos[topic].Err; err != nil {
		return r, fmt.Errorf("topic %s: %w (is the app of the old configuration right?)", topic, err)
	}
	n, err := r.old.Topics().Count(ctx)
	if err != nil {
		return r, err
	}
	r.old.Found(topics.Found{Partitions: n.Tasks, Inputs: n.Inputs})
	for p := range r.old.Partitions {
		s, err := takeOver(ctx, task.New(r.old, p))
		if err != nil {
			return r, fmt.Errorf("partition %d: %w", p, err)
		}
		r.parts = append(r.parts, s)
	}
	return r, r.countOld()
}

// oldPart is a partition of the old application that was taken over.
type oldPart struct {
	*task.Task
	ledger   ledger.Ledger
	pos      *changelog.Position
	versions *changelog.Versions // nil if the partition has never run
	move     *changelog.Move     // what its changelog says of a resharding, nil if nothing
}

// takeOver fences and restores a partition, which may have been moved.
func takeOver(ctx context.Context, t *task.Task) (*oldPart, error) {
	l, err := t.Fence(ctx)
	if err != nil {
		return nil, fmt.Errorf("fence: %w", err)
	}
	p := &oldPart{Task: t, ledger: l, pos: t.FirstPosition(&t.Instance.Config)}
	c, err := t.Restore(ctx, l, func(*changelog.Move) error { return nil })
	if err == nil && c.Position != nil {
		p.pos = c.Position
		p.versions, err = task.ReadVersions(c.Versions)
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("restore: %w", err)
	}
	p.move = c.Move
	t.Instance.Learn(t.Partition, p.pos)
	return p, nil
}

func (p *oldPart) close() { p.ledger.Close() }

// inOne writes records in one transaction.
func (p *oldPart) inOne(ctx context.Context, records []*kgo.Record) error {
	return inOne(ctx, p.ledger, records)
}

// inOne writes records in one transaction.
func inOne(ctx context.Context, l ledger.Ledger, records []*kgo.Record) error {
	ctx, cancel := context.WithTimeout(ctx, ledger.Timeout)
	defer cancel()
	_, err := l.Commit(ctx, records)
	return err
}

// countOld finds out how many partitions the old application had. Its changelog may
// have grown since; nothing may have run on what was added.
func (r *resharding) countOld() error {
	n := r.old.Partitions
	for _, s := range r.parts {
		if s.pos.Seq > 0 {
			n = min(n, s.pos.Partitions)
		}
	}
	for _, s := range r.parts[n:] {
		if s.pos.Seq > 0 {
			return fmt.Errorf("partition %d of %s has run, and others were written for %d partitions: the state cannot be moved", s.Partition, r.From.App, n)
		}
		s.close()
	}
	r.old.Partitions, r.done.From, r.parts = n, n, r.parts[:n]
	for _, s := range r.parts {
		if err := s.CheckPosition(s.pos); err != nil {
			return err
		}
	}
	return nil
}

func (r *resharding) close() {
	for _, s := range r.parts {
		s.close()
	}
	if r.writer != nil {
		r.writer.ledger.Close()
	}
	for _, o := range []*task.Instance{r.old, r.new} {
		if o != nil && o.Cluster != nil {
			o.Cluster.Close()
		}
	}
}

// reshardTimeout bounds waiting for what a former writer left open.
const reshardTimeout = time.Minute
