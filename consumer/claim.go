package consumer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/state"
)

// compactionLag is min.compaction.lag.ms of the changelog without transactions: how
// long the next owner may take to write again what void records have overwritten.
const compactionLag = 24 * time.Hour

// errClaimed is returned when another owner has claimed the task.
var errClaimed = errors.New("another instance has claimed the partition")

// checkDelivery refuses a cluster that has no transactions if they are needed.
func (o *Owner) checkDelivery(ctx context.Context) error {
	if o.cfg.Delivery == AtLeastOnce {
		return nil
	}
	resp, err := o.cluster.APIVersions(ctx)
	if err != nil {
		return err
	}
	missing := []kmsg.Key{kmsg.InitProducerID, kmsg.AddPartitionsToTxn, kmsg.EndTxn}
	for _, k := range resp.ApiKeys {
		missing = slices.DeleteFunc(missing, func(m kmsg.Key) bool { return m.Int16() == k.ApiKey })
	}
	if len(missing) > 0 {
		return fault.Fatal("the cluster has no transactions (its brokers do not know %v): to do without them, set delivery: at_least_once", missing)
	}
	return nil
}

// warnOfCompaction says so if compaction would not wait for what has to be written
// again.
func (o *Owner) warnOfCompaction(ctx context.Context) {
	const key = "min.compaction.lag.ms"
	configs, err := kadm.NewClient(o.cluster.Admin).DescribeTopicConfigs(ctx, o.cfg.changelog())
	if err != nil || len(configs) != 1 {
		return
	}
	for _, kv := range configs[0].Configs {
		if lag, err := strconv.ParseInt(kv.MaybeValue(), 10, 64); kv.Key == key && err == nil && lag < compactionLag.Milliseconds() {
			o.cfg.Logger.Warn("without transactions the changelog must not be compacted at once: state that the next owner needs can be lost; raise "+key,
				"topic", o.cfg.changelog(), key, lag, "needed", compactionLag.Milliseconds())
		}
	}
}

// errPaused is returned when the session stood still for so long that the group
// may have given the partition to somebody else.
var errPaused = errors.New("the process stood still for longer than the session timeout")

// isFenced reports whether another owner has initialised the transactional id, or
// written a claim, or must be expected to.
func isFenced(err error) bool {
	return errors.Is(err, errClaimed) || errors.Is(err, errPaused) || errors.Is(err, kerr.InvalidProducerEpoch) || errors.Is(err, kerr.ProducerFenced)
}

// noTopicID is in the meta of a copy the id of a changelog that has none, as before
// Kafka 2.8: none at all says something else, see knowing.
var noTopicID = [16]byte(bytes.Repeat([]byte{0xff}, 16))

// knowing returns the topic id for the meta of a copy, none if there are records that
// are still to be written again: a copy does not say which, so it must not be
// continued. Whoever reads the whole changelog finds them.
func knowing(topicID [16]byte, void bool) [16]byte {
	if void {
		return [16]byte{}
	}
	return topicID
}

// undo takes back the batch that the log ends with if no position follows it: a
// whole changelog is loaded blindly, and what the customers of that batch were
// before it has to be looked for. Whoever reads on reads the batch again.
func (r *replay) undo(ctx context.Context) error {
	if len(r.filter.Opened()) == 0 {
		return nil
	}
	before := map[string][]byte{}
	for key := range r.filter.Opened() {
		if id, ok := strings.CutPrefix(key, changelog.CustomerPrefix); ok {
			before[id] = nil
		}
	}
	again := &replay{o: r.o, n: r.n, filter: changelog.NewFilter(), next: r.first}
	defer again.close()
	for again.next < r.last {
		if err := again.fetch(ctx, r.last); err != nil {
			return err
		}
		for _, rec := range again.rest {
			if again.next = rec.Offset + 1; rec.Attrs.IsControl() || rec.Offset >= r.last {
				continue
			}
			by, err := again.filter.Judge(rec)
			if err != nil {
				return err
			}
			id, ok := strings.CutPrefix(string(rec.Key), changelog.CustomerPrefix)
			if _, open := before[id]; by != nil && ok && open {
				before[id] = rec.Value
			}
		}
	}
	changes := make([]state.Change, 0, len(before))
	for id, value := range before {
		changes = append(changes, state.Change{Customer: id, Value: value})
	}
	r.close()
	r.cl, r.rest, r.coming, r.next = nil, nil, nil, max(r.first, r.last)
	return r.store.Load(changes)
}

// writeClaim writes the claim of a session without transactions.
// The producer is idempotent, so that a late copy of a request can't bring back an
// old value behind a new one.
func (s *session) writeClaim(ctx context.Context) error {
	s.claim = changelog.NewClaim()
	r := &kgo.Record{Topic: s.cfg.changelog(), Partition: s.t.n, Key: changelog.ClaimKey(), Value: s.claim[:]}
	if err := s.produce(ctx, []*kgo.Record{r}); err != nil {
		return err // the client may still hold the record
	}
	s.claimed = r.Offset + 1
	return nil
}

// writePosition writes the record that makes a batch good, when all others of the
// batch stand in the log, and reads on up to it: it is void if there is another
// claim below it. The local copy must never hold what is void:
//
//  1. A, which has stood still, is about to write the position of a batch;
//  2. B claims the task and restores;
//  3. A's position is written, acknowledged, and void;
//  4. if A now took its copy for that position, it would later go on from there, and
//     would not see B's claim, which stands below.
func (s *session) writePosition(ctx context.Context, r *kgo.Record) (int64, error) {
	if err := s.produce(ctx, []*kgo.Record{r}); err != nil {
		return 0, err
	}
	if err := s.follower.await(ctx, r.Offset); err != nil {
		return 0, err
	}
	s.looped = s.cfg.Now() // the task is still ours
	return r.Offset, nil
}

// again writes the customers of void records as they are.
func (s *session) again(add func(key, value []byte)) error {
	for _, key := range slices.Sorted(maps.Keys(s.rewrite)) {
		var value []byte
		var err error
		switch id, ok := strings.CutPrefix(key, changelog.CustomerPrefix); {
		case ok:
			value, _, err = s.customers.value(nil, id) // nil if there is none: a tombstone
		case key == changelog.VersionsKey && s.unstoredVersions != nil:
			value = s.unstoredVersions
		case key == changelog.VersionsKey:
			var meta state.Meta
			meta, ok, err = s.t.store.Meta()
			if value = meta.Versions; !ok {
				continue // the first batch writes them
			}
		default:
			continue // written by every batch
		}
		if err != nil {
			return err
		}
		add([]byte(key), value)
	}
	return nil
}

// follow takes in what others have written to the changelog, and ends the session
// if one of them has claimed the task, or may have. Nothing else keeps an owner
// that stood still from writing outputs that are not due to it.
func (s *session) follow() error {
	if s.follower == nil { // with transactions, or of the past
		return nil
	}
	if err := s.ours(); err != nil {
		return err
	}
	s.looped = s.cfg.Now()
	s.follower.take(s.rewrite)
	return nil
}

// ours returns an error if the task is known not to be ours any longer, or if the
// loop stood still.
func (s *session) ours() error {
	if !s.looped.IsZero() && s.cfg.Now().Sub(s.looped) > s.cfg.Group.SessionTimeout {
		return errPaused
	}
	return s.follower.failed()
}

// follower reads the changelog behind a session without transactions for what
// others write there.
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

// newFollower reads from behind the claim on.
func (s *session) newFollower() (*follower, error) {
	opts := append(s.t.o.cluster.ConsumerOptions(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
		s.cfg.changelog(): {s.t.n: kgo.NewOffset().At(s.claimed)},
	}))
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	f := &follower{cl: cl, done: make(chan struct{}), keys: map[string]struct{}{}}
	f.moved = sync.NewCond(&f.mu)
	var ctx context.Context
	ctx, f.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(f.done)
		f.run(ctx, s.claim)
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
			f.err = errClaimed
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

// take moves the keys that were found to keys. With transactions there is no
// follower, and nothing to be found.
func (f *follower) take(keys map[string]struct{}) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.Copy(keys, f.keys)
	clear(f.keys)
}

// failed returns why the session has to end, or nil.
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
