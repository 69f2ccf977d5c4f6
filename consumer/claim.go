package consumer

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/state"
)

// Without transactions nothing in Kafka keeps a former owner from writing, and
// nothing makes several records one. At-least-once delivery does both within the
// changelog partition, which is one log that everybody reads in the same order:
//
//   - Who acquires a task writes a claim, a random number. Records behind it that
//     were stamped with another claim are void.
//   - A record is stamped with its claim and with its batch: the seq of the
//     position that will end it. Until that position stands in the log, the batch
//     is void.
//
// So the position is the commit, as with transactions, and every reader of the
// log agrees on what is void. But compaction does not: to it, a void record is the
// newest of its key and the good one below it is garbage. Therefore the owner
// writes the customers of void records again, as they were, when it acquires the
// task and whenever it sees such a record (see follower), and until then compaction
// has to wait: min.compaction.lag.ms of the changelog.
//
// Outputs have no such filter: a reader of them can see what a void batch told, and
// then the same again with the same sequences. The ids are the same too, but for
// late events, whose instant is the clock's.

// claim is the random number of one acquisition; zero is that of transactions.
type claim [8]byte

func newClaim() (c claim) {
	_, _ = rand.Read(c[:]) // never fails
	return c
}

// String returns the number in hexadecimal.
func (c claim) String() string { return hex.EncodeToString(c[:]) }

// claimKey returns a key for a claim. Each has its own, so that compaction leaves
// them all: behind a claim that was gone, a reader would take what its owner wrote
// for void.
func claimKey() []byte { return []byte(claimPrefix + newClaim().String()) }

// stamp is what a record of the changelog says of its origin; zero if it is part
// of a transaction.
type stamp struct {
	claim claim
	seq   uint64
}

// headerStamp holds a stamp: the claim and the seq, big endian.
const headerStamp = "segmill.batch"

func (s stamp) header() kgo.RecordHeader {
	return kgo.RecordHeader{Key: headerStamp, Value: binary.BigEndian.AppendUint64(s.claim[:len(s.claim):len(s.claim)], s.seq)}
}

var errStamp = errors.New("the header " + headerStamp + " is not readable")

// stampOf reads a record's stamp.
func stampOf(r *kgo.Record) (s stamp, err error) {
	for _, h := range r.Headers {
		if h.Key != headerStamp {
			continue
		}
		if len(h.Value) != 16 {
			return s, errStamp
		}
		copy(s.claim[:], h.Value)
		s.seq = binary.BigEndian.Uint64(h.Value[8:])
	}
	return s, nil
}

// claimOf reads a claim record.
func claimOf(r *kgo.Record) (c claim, err error) {
	if len(r.Value) != len(c) {
		return c, errors.New("a claim is not readable")
	}
	copy(c[:], r.Value)
	return c, nil
}

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
	resp, err := o.apiVersions(ctx)
	if err != nil {
		return err
	}
	missing := []kmsg.Key{kmsg.InitProducerID, kmsg.AddPartitionsToTxn, kmsg.EndTxn}
	for _, k := range resp.ApiKeys {
		missing = slices.DeleteFunc(missing, func(m kmsg.Key) bool { return m.Int16() == k.ApiKey })
	}
	if len(missing) > 0 {
		return fatal("the cluster has no transactions (its brokers do not know %v): to do without them, set delivery: at_least_once", missing)
	}
	return nil
}

// warnOfCompaction says so if compaction would not wait for what has to be written
// again.
func (o *Owner) warnOfCompaction(ctx context.Context) {
	const key = "min.compaction.lag.ms"
	configs, err := kadm.NewClient(o.admin).DescribeTopicConfigs(ctx, o.cfg.changelog())
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

// judge returns who wrote a record, nil if the record is a claim or void.
func (r *replay) judge(rec *kgo.Record) (by *stamp, err error) {
	key := string(rec.Key)
	if strings.HasPrefix(key, claimPrefix) {
		r.known = true
		r.claim, err = claimOf(rec)
		return nil, err
	}
	s, err := stampOf(rec)
	if err != nil {
		return nil, err
	}
	if r.known && s.claim != r.claim {
		r.foreign[key] = struct{}{}
		if key == positionKey {
			r.notePosition(rec.Value)
		}
		return nil, nil
	}
	delete(r.foreign, key)
	return &s, nil
}

// notePosition notes a void position that is not the first: there was a good one
// before it, which compaction must not have removed.
func (r *replay) notePosition(value []byte) {
	pos, err := decodePosition(value)
	r.shadowed = r.shadowed || err != nil || pos.Seq > 1
}

// opened notes a record that counts as soon as its position comes.
func (r *replay) opened(key string, by stamp) {
	if by == (stamp{}) {
		r.unstamped++
		return
	}
	if by.claim == r.openStamp.claim && by.seq > r.openStamp.seq {
		clear(r.open)
	}
	r.openStamp = by
	r.open[key] = struct{}{}
}

// void returns the keys whose newest records do not count.
func (r *replay) void() map[string]struct{} {
	keys := maps.Clone(r.foreign)
	maps.Copy(keys, r.open)
	return keys
}

// noTopicID is in the meta of a copy the id of a changelog that has none, as before
// Kafka 2.8: none at all says something else, see knowing.
var noTopicID = [16]byte(bytes.Repeat([]byte{0xff}, 16))

// knowing returns the topic id for the meta of a copy, none if there are records that
// are still to be written again: a copy does not say which, so it must not be
// continued. Whoever reads the whole changelog finds them.
func knowing(topicID [16]byte, void map[string]struct{}) [16]byte {
	if len(void) > 0 {
		return [16]byte{}
	}
	return topicID
}

// undo takes back the batch that the log ends with if no position follows it: a
// whole changelog is loaded blindly, and what the customers of that batch were
// before it has to be looked for. Whoever reads on reads the batch again.
func (r *replay) undo(ctx context.Context) error {
	if len(r.open) == 0 {
		return nil
	}
	before := map[string][]byte{}
	for key := range r.open {
		if id, ok := strings.CutPrefix(key, customerPrefix); ok {
			before[id] = nil
		}
	}
	again := &replay{o: r.o, n: r.n, foreign: map[string]struct{}{}, next: r.first}
	defer again.close()
	for again.next < r.last {
		if err := again.fetch(ctx, r.last); err != nil {
			return err
		}
		for _, rec := range again.rest {
			if again.next = rec.Offset + 1; rec.Attrs.IsControl() || rec.Offset >= r.last {
				continue
			}
			by, err := again.judge(rec)
			if err != nil {
				return err
			}
			id, ok := strings.CutPrefix(string(rec.Key), customerPrefix)
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
	s.claim = newClaim()
	r := &kgo.Record{Topic: s.cfg.changelog(), Partition: s.t.n, Key: claimKey(), Value: s.claim[:]}
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
func (s *session) again(changelog func(key, value []byte)) error {
	for _, key := range slices.Sorted(maps.Keys(s.rewrite)) {
		var value []byte
		var err error
		switch id, ok := strings.CutPrefix(key, customerPrefix); {
		case ok:
			value, _, err = s.customers.value(nil, id) // nil if there is none: a tombstone
		case key == versionsKey && s.unstoredVersions != nil:
			value = s.unstoredVersions
		case key == versionsKey:
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
		changelog([]byte(key), value)
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
	opts := append(consumerOpts(s.t.o.opts()), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
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

func (f *follower) run(ctx context.Context, own claim) {
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

func (f *follower) record(r *kgo.Record, own claim) {
	f.next = r.Offset + 1
	if r.Attrs.IsControl() {
		return
	}
	if key := string(r.Key); strings.HasPrefix(key, claimPrefix) {
		if c, err := claimOf(r); f.err == nil && (err != nil || c != own) {
			f.err = errClaimed
		}
	} else if from, err := stampOf(r); err != nil || from.claim != own {
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
