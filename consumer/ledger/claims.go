package ledger

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/changelog"
)

// CompactionLag is min.compaction.lag.ms of a changelog without transactions: how
// long the next owner may take to write again what void records have overwritten.
const CompactionLag = 24 * time.Hour

// Claims is a Ledger without transactions: what counts in the changelog is as
// changelog.Claim says, and outputs can be seen twice after a failure.
type Claims struct {
	producer
	own     changelog.Claim
	claimed int64 // the offset after the claim
	others  *follower

	now      func() time.Time
	patience time.Duration
	alive    time.Time // when the owner's loop last went round, zero before that
}

// NewClaims writes a claim, which makes void what former owners write from now on, and
// begins to follow the changelog. patience is how long the owner may be suspended
// before another instance may own the partition: the session timeout of the group.
//
// The producer is idempotent, so that a late copy of a request can't bring back an
// old value behind a new one.
func NewClaims(ctx context.Context, patience time.Duration, o Options) (*Claims, error) {
	p, err := newProducer(o)
	if err != nil {
		return nil, err
	}
	c := &Claims{producer: p, own: changelog.NewClaim(), now: o.Cluster.Now, patience: patience}
	r := &kgo.Record{Topic: o.Topic, Partition: o.Partition, Key: changelog.ClaimKey(), Value: c.own[:]}
	if err := c.produce(ctx, []*kgo.Record{r}); err != nil {
		c.cl.Close() // it may still hold the record
		return nil, err
	}
	c.claimed = r.Offset + 1
	if c.others, err = newFollower(o, c.own, c.claimed); err != nil {
		c.cl.Close()
		return nil, err
	}
	return c, nil
}

// Claim returns the claim.
func (c *Claims) Claim() changelog.Claim { return c.own }

// Begin returns the offset after the claim.
func (c *Claims) Begin() int64 { return c.claimed }

// Commit writes the records, then the position, which makes them count, and reads on
// up to it: it is void if there is another claim below it. The local copy must never
// hold what is void:
//
//  1. A, which was suspended, is about to write the position of a batch;
//  2. B claims the partition and restores;
//  3. A's position is written, acknowledged, and void;
//  4. if A now took its copy for that position, it would later continue from there,
//     and would not see B's claim, which is below.
func (c *Claims) Commit(ctx context.Context, records []*kgo.Record) (int64, error) {
	if err := c.stillOurs(); err != nil {
		return 0, err
	}
	if err := c.at("begun"); err != nil {
		return 0, err
	}
	last := len(records) - 1
	if err := c.produce(ctx, records[:last]); err != nil {
		return 0, err
	}
	if err := c.at("produced"); err != nil {
		return 0, err
	}
	if err := c.produce(ctx, records[last:]); err != nil {
		return 0, err
	}
	position := records[last].Offset
	if err := c.others.await(ctx, position); err != nil {
		return 0, err
	}
	c.alive = c.now() // the partition is still ours
	return position, nil
}

// Alive returns an error if another owner has claimed the partition, or may have
// while this one was suspended. Nothing else keeps a suspended owner from writing
// outputs that it no longer may write.
func (c *Claims) Alive() error {
	if err := c.stillOurs(); err != nil {
		return err
	}
	c.alive = c.now()
	return nil
}

func (c *Claims) stillOurs() error {
	if !c.alive.IsZero() && c.now().Sub(c.alive) > c.patience {
		return errPaused
	}
	return c.others.failed()
}

// TakeVoid adds the keys that others have written behind the claim.
func (c *Claims) TakeVoid(keys map[string]struct{}) { c.others.take(keys) }

// Close ends it.
func (c *Claims) Close() {
	c.others.close()
	c.cl.Close()
}

// follower reads the changelog behind a claim for what others write there.
type follower struct {
	cl     *kgo.Client
	cancel context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex
	moved *sync.Cond          // next or err
	next  int64               // the next offset to read
	keys  map[string]struct{} // of void records
	err   error
}

func newFollower(o Options, own changelog.Claim, from int64) (*follower, error) {
	cl, err := kgo.NewClient(append(o.Cluster.ConsumerOptions(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
		o.Topic: {o.Partition: kgo.NewOffset().At(from)},
	}))...)
	if err != nil {
		return nil, err
	}
	f := &follower{cl: cl, done: make(chan struct{}), keys: map[string]struct{}{}}
	f.moved = sync.NewCond(&f.mu)
	var ctx context.Context
	ctx, f.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(f.done)
		f.run(ctx, own)
	}()
	return f, nil
}

func (f *follower) run(ctx context.Context, own changelog.Claim) {
	for {
		fetches := f.cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return
		}
		f.mu.Lock()
		for _, e := range fetches.Errors() {
			f.err = fmt.Errorf("changelog: %w", e.Err)
		}
		for it := fetches.RecordIter(); !it.Done(); {
			f.record(it.Next(), own)
		}
		stop := f.err != nil
		f.moved.Broadcast()
		f.mu.Unlock()
		if stop {
			return
		}
	}
}

func (f *follower) record(r *kgo.Record, own changelog.Claim) {
	f.next = r.Offset + 1
	if r.Attrs.IsControl() {
		return
	}
	if key := string(r.Key); changelog.IsClaim(key) {
		if c, err := changelog.DecodeClaim(r); f.err == nil && (err != nil || c != own) {
			f.err = ErrClaimed
		}
	} else if from, err := changelog.StampOf(r); err != nil || from.Claim != own {
		f.keys[key] = struct{}{}
	}
}

// await returns when the record at an offset has been read, or with the error that
// ends the session.
func (f *follower) await(ctx context.Context, offset int64) error {
	defer context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.moved.Broadcast()
	})()
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.next <= offset && f.err == nil && ctx.Err() == nil {
		f.moved.Wait()
	}
	if f.err == nil && f.next <= offset {
		return fmt.Errorf("changelog: %w", ctx.Err())
	}
	return f.err
}

// take moves the keys that were found to keys.
func (f *follower) take(keys map[string]struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.Copy(keys, f.keys)
	clear(f.keys)
}

// failed returns why the partition is not ours any longer, or nil.
func (f *follower) failed() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *follower) close() {
	f.cancel()
	<-f.done
	f.cl.Close()
}
