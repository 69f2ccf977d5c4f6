package replica

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/state"
)

// TombstonesKept is delete.retention.ms of the changelog; a copy is not used when it
// comes within StaleMargin of it.
const (
	TombstonesKept = 7 * 24 * time.Hour
	StaleMargin    = 24 * time.Hour
)

// noteInterval is how often a copy that is current is noted to be so.
const noteInterval = time.Minute

// Options are whose copy a Replica is, and where.
type Options struct {
	Cluster   *broker.Cluster
	Topic     string // the changelog
	Partition int32
	Store     *state.Task
	Log       *slog.Logger
	// Known is the id of the changelog when the engine started; zero if it was not
	// asked.
	Known changelog.TopicID
	// Damaged is called when the copy is found to be damaged.
	Damaged func()
}

// Replica lays a changelog over the copy of one partition. There are two kinds. A tail
// is laid over a copy that is there, transaction by transaction, so that the copy is
// always at some position. A whole changelog is loaded blindly into an empty task, and
// indexed and hashed afterwards in one scan: compaction has left customers without the
// transactions that wrote them, and until the end the copy has no position. From then
// on it is a tail.
type Replica struct {
	Options
	topicID changelog.TopicID
	log     reader
	filter  *changelog.Filter
	batch   pending
	bounds
	copied
	logged
	progress *Progress // nil if nobody watches
}

// bounds are where the changelog begins and ends.
type bounds struct {
	first int64        // the first offset that it has
	end   int64        // where it ended
	asked state.Millis // when that was asked
}

// copied is what the copy holds.
type copied struct {
	tail, began bool         // whether it has been verified at some position; and was when it was opened
	asOf        state.Millis // it lacks nothing that was written before
	noted       noted
	digest      state.Digest
}

// logged is what the changelog says, as far as it was read.
type logged struct {
	pos      *changelog.Position // the last one, nil if there is none
	last     int64               // the offset after it
	versions []byte              // the last ones
	move     *changelog.Move     // nil if there is no resharding
	records  int
}

// noted is what the meta of the copy in the store says.
type noted struct {
	next int64
	asOf state.Millis
}

// State is what a verified copy holds, for whoever goes on from it.
type State struct {
	Position *changelog.Position // nil if the partition has never run
	Versions []byte              // changelog.Versions as they are stored
	Next     int64               // the changelog offset behind what was read
	First    int64               // the first offset that the changelog has
	TopicID  changelog.TopicID   // of the changelog
	Claim    changelog.Claim     // under which records count
	Void     map[string]struct{} // keys whose newest records do not count
	Move     *changelog.Move     // nil if there is no resharding
	Records  int                 // that were read
	Tail     bool                // whether the copy was there before
}

// noTopicID is in the meta of a copy the id of a changelog that has none, as before
// Kafka 2.8: none at all says something else, see TopicIDOf.
var noTopicID = changelog.TopicID(bytes.Repeat([]byte{0xff}, 16))

// TopicIDOf returns the topic id for the meta of a copy, none if there are records
// that are still to be written again: a copy does not say which, so it must not be
// continued. Whoever reads the whole changelog finds them.
func TopicIDOf(id changelog.TopicID, void bool) changelog.TopicID {
	if void {
		return changelog.TopicID{}
	}
	return id
}

// Open sees what the changelog has and what the local copy lacks. The changelog ends at
// the edge: the high watermark, or the last stable offset where an owner may be
// writing; and not before least, which is known of its end. A copy that can't be
// continued is dropped. The Replica is to be closed.
func Open(ctx context.Context, o Options, edge broker.Edge, least int64) (*Replica, error) {
	topics := []string{o.Topic}
	ctx, cancel := context.WithTimeout(ctx, broker.RequestTimeout)
	defer cancel()
	r := &Replica{Options: o, filter: changelog.NewFilter()}
	infos, err := o.Cluster.Describe(ctx, o.Topic)
	if err != nil {
		return nil, err
	}
	if err := infos[o.Topic].Err; err != nil {
		return nil, err
	}
	if r.topicID = infos[o.Topic].ID; r.topicID == (changelog.TopicID{}) {
		r.topicID = noTopicID
	}
	first, err := o.Cluster.ListOne(ctx, broker.Start, topics, o.Partition)
	if err != nil {
		return nil, err
	}
	r.asked = engine.Millis(o.Cluster.Now().UnixMilli())
	end, err := o.Cluster.ListOne(ctx, edge, topics, o.Partition)
	if err != nil {
		return nil, err
	}
	r.first, r.end = first[o.Topic], max(end[o.Topic], least)
	r.log = reader{Cluster: o.Cluster, topic: o.Topic, partition: o.Partition, next: r.first}
	if err := r.checkTopic(ctx); err != nil {
		return nil, err
	}
	meta, pos, err := r.local()
	if err != nil {
		return nil, err
	}
	if pos == nil {
		return r, o.Store.Drop()
	}
	r.tail, r.began = true, true
	r.pos, r.versions, r.digest = pos, meta.Versions, pos.Digest
	r.filter, r.last = changelog.FilterAfter(pos), meta.Next
	r.log.next, r.asOf, r.noted = meta.Next, meta.AppliedAt, noted{meta.Next, meta.AppliedAt}
	return r, nil
}

// local returns the copy's meta if the copy can be used with the changelog.
func (r *Replica) local() (state.Meta, *changelog.Position, error) {
	meta, ok, err := r.Store.Meta()
	if err != nil || !ok {
		return meta, nil, err
	}
	pos, err := changelog.DecodePosition(meta.Position)
	var why string
	switch {
	case err != nil:
		why = err.Error()
		r.Damaged()
	case meta.TopicID == changelog.TopicID{}:
		why = "it does not say which records of the changelog are still to be written again"
	case meta.TopicID != r.topicID:
		why = "it is of another changelog topic of the same name"
	case meta.Next > r.end:
		return meta, nil, fault.Stopped(r.Partition, "the changelog ends at offset %d and the local copy was made up to %d: the changelog has lost committed records",
			r.end, meta.Next)
	case meta.Next < r.first:
		why = "the changelog no longer has what follows it"
	case meta.Next < r.end && r.asked-meta.AppliedAt > millis(TombstonesKept-StaleMargin):
		// The tombstones of customers that were deleted since may be gone, and the
		// copy would bring the customers back.
		why = "it is too old"
	default:
		return meta, pos, nil
	}
	r.Log.Info("local copy is not used", "reason", why)
	return meta, nil, nil
}

// End returns where the changelog ended when it was opened.
func (r *Replica) End() int64 { return r.end }

// Next returns the offset of the next record.
func (r *Replica) Next() int64 { return r.log.next }

// Claim returns the claim that records must carry now.
func (r *Replica) Claim() changelog.Claim { return r.filter.Claim() }

// Move returns what the changelog says of a resharding, nil if nothing.
func (r *Replica) Move() *changelog.Move { return r.move }

// Watch shows from now on how far the Replica comes.
func (r *Replica) Watch(p *Progress) { r.progress = p }

// State returns what the copy holds. It must have been verified.
func (r *Replica) State() State {
	return State{
		Position: r.pos, Versions: r.versions, Next: r.log.next, First: r.first, TopicID: r.topicID,
		Claim: r.filter.Claim(), Void: r.filter.Void(), Move: r.move, Records: r.records, Tail: r.began,
	}
}

// Close ends reading.
func (r *Replica) Close() { r.log.close() }

// Verify writes the rest of what was read, compares the digest of the copy with
// that of the last position, and notes that the copy was current when the end was
// requested. An error that wraps fault.ErrLocal blames the copy.
func (r *Replica) Verify(ctx context.Context) error {
	if err := r.Flush(); err != nil {
		return err
	}
	if r.pos == nil && r.filter.Shadowed() {
		return fault.Stopped(r.Partition, "the changelog has lost its last position to compaction, which must wait for a day (min.compaction.lag.ms): restore it, or begin with another app name")
	}
	if r.pos == nil && r.filter.Unstamped() > 0 {
		return fault.Stopped(r.Partition, "the changelog has %d records and no position", r.records)
	}
	if !r.tail {
		var err error
		if err = r.undo(ctx); err != nil {
			return err
		}
		if r.digest, _, err = r.Store.Index(func(customers int) error {
			r.progress.Indexed(customers)
			return ctx.Err()
		}); err != nil {
			return err
		}
	}
	var want state.Digest
	if r.pos != nil {
		want = r.pos.Digest
	}
	if len(r.batch.changes) > 0 && len(r.filter.Opened()) == 0 || r.digest != want {
		return fmt.Errorf("%w: digest %v, the position says %v, after %d records", fault.ErrLocal, r.digest, want, r.records)
	}
	return r.current(r.asked)
}

// current notes that the copy, which has come to next, lacks nothing that was
// written before an instant. If only the instant is new it is not noted each time.
func (r *Replica) current(asOf state.Millis) error {
	r.tail, r.asOf = true, asOf
	next := r.log.next
	if r.pos != nil && r.filter.Claim() != r.pos.Claim || len(r.filter.Opened()) > 0 || r.move != nil {
		// From next, the copy would be continued under the claim of its position,
		// without the beginning of a batch, or as if the state had not been moved.
		next = r.last
	}
	if r.pos == nil || next == r.noted.next && asOf-r.noted.asOf < millis(noteInterval) {
		return nil // of a partition that has never run there is nothing to note
	}
	if err := r.Store.Apply(nil, r.meta(next)); err != nil {
		return err
	}
	r.batch.at, r.batch.fresh, r.noted = 0, nil, noted{next, asOf}
	return nil
}

// meta returns the meta of the copy at the last position, which is below next.
func (r *Replica) meta(next int64) *state.Meta {
	return &state.Meta{
		Position: r.pos.Append(nil), Versions: r.batch.fresh,
		TopicID: TopicIDOf(r.topicID, r.filter.Foreign()), Next: next, AppliedAt: r.asOf,
	}
}

func millis(d time.Duration) state.Millis { return state.Millis(d.Milliseconds()) }
