package changelog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/internal/wire"
	"github.com/segmill/segmill/state"
)

// Position says how far a task has come: everything that is needed to continue from
// the transaction that ends with it.
type Position struct {
	App        string
	Partitions int32
	// Seq counts the transactions of the task: 1, 2, 3 …
	Seq uint64
	// Clock is the task clock at the end of the transaction. It never goes back.
	Clock engine.Millis
	// Latest is the greatest event time folded so far.
	Latest engine.Millis
	// Digest is that of all customers.
	Digest state.Digest
	// Folded counts valid records, repeats and erasures included; DeadLetters and
	// Forwarded the others.
	Folded, DeadLetters, Forwarded uint64
	// Rules is the hash of the Versions under which effects were emitted.
	Rules [16]byte
	// Sources says how far every topic that was ever read has been taken.
	Sources map[string]Source
	// Turn is the state of the merge, so that its order does not depend on where a
	// batch ends.
	Turn Turn
	// Rebuilding is set from the first transaction of a rebuild until its last.
	Rebuilding bool
	// Claim is that of the owner which wrote the position; zero if it was written in
	// a transaction.
	Claim Claim
}

// Source is how far one input partition has been taken.
type Source struct {
	Next int64 // the next offset to take
	// Seen is the greatest event time up to and including the record at Next, if
	// that had been fetched.
	Seen engine.Millis
	// ID is that of the topic, which is another one if the topic is created again;
	// zero if the position was written before ids were, or the brokers have none.
	ID TopicID
}

// TopicID distinguishes topics of the same name.
type TopicID [16]byte

// positionFormat is the first byte of a Position. A reader refuses any other.
const positionFormat = 1

// Limits of decoding, far above what is written.
const (
	maxName       = 4096
	maxPartitions = 1 << 30
)

// leastSource is how many bytes a source has at least: a name, and two numbers.
const leastSource = 3

var errPosition = errors.New("position record is not readable")

// Bits of the flags byte.
const (
	flagSweeping = 1 << iota
	flagRebuilding
	flagClaim
	flagTopicIDs
)

// Append appends the stored form:
//
//	| format (1) | flags (1) | app | partitions | seq | clock | latest | digest (16) |
//	| folded | dead letters | forwarded | rules (16) | Turn |
//	| number of sources | name, next, seen | … | claim (8), if there is one |
//	| topic ids (16 each), if there are any |
//
// Integers are varints, the signed ones zigzag; texts have their length in front.
// Sources are sorted, so that equal positions have equal bytes; the ids are in the
// same order.
func (p *Position) Append(b []byte) []byte {
	var flags byte
	if p.Turn.Sweeping {
		flags |= flagSweeping
	}
	if p.Rebuilding {
		flags |= flagRebuilding
	}
	if p.Claim != (Claim{}) {
		flags |= flagClaim
	}
	names := slices.Sorted(maps.Keys(p.Sources))
	identified := slices.ContainsFunc(names, func(name string) bool { return p.Sources[name].ID != TopicID{} })
	if identified {
		flags |= flagTopicIDs
	}
	b = append(b, positionFormat, flags)
	b = wire.AppendText(b, p.App)
	b = binary.AppendUvarint(b, uint64(p.Partitions))
	b = binary.AppendUvarint(b, p.Seq)
	b = binary.AppendVarint(b, int64(p.Clock))
	b = binary.AppendVarint(b, int64(p.Latest))
	b = binary.BigEndian.AppendUint64(b, p.Digest.Hi)
	b = binary.BigEndian.AppendUint64(b, p.Digest.Lo)
	for _, n := range []uint64{p.Folded, p.DeadLetters, p.Forwarded} {
		b = binary.AppendUvarint(b, n)
	}
	b = append(b, p.Rules[:]...)
	b = wire.AppendText(b, p.Turn.After)
	b = binary.AppendUvarint(b, uint64(len(p.Sources)))
	for _, name := range names {
		b = wire.AppendText(b, name)
		b = binary.AppendVarint(b, p.Sources[name].Next)
		b = binary.AppendVarint(b, int64(p.Sources[name].Seen))
	}
	if p.Claim != (Claim{}) {
		b = append(b, p.Claim[:]...)
	}
	if identified {
		for _, name := range names {
			id := p.Sources[name].ID
			b = append(b, id[:]...)
		}
	}
	return b
}

// DecodePosition reads the stored form.
func DecodePosition(b []byte) (*Position, error) {
	if len(b) == 0 || b[0] != positionFormat {
		return nil, fmt.Errorf("%w: its format is not %d; it was written by another version", errPosition, positionFormat)
	}
	r := wire.NewReader(b[1:])
	flags := r.Byte()
	p := &Position{
		Rebuilding: flags&flagRebuilding != 0,
		App:        r.TextTo(maxName), Partitions: int32(r.UvarintTo(maxPartitions)), Seq: r.Uvarint(),
		Clock: engine.Millis(r.Varint()), Latest: engine.Millis(r.Varint()),
		Digest: state.Digest{Hi: r.Uint64BE(), Lo: r.Uint64BE()},
		Folded: r.Uvarint(), DeadLetters: r.Uvarint(), Forwarded: r.Uvarint(),
	}
	copy(p.Rules[:], r.Take(len(p.Rules)))
	p.Turn = Turn{Sweeping: flags&flagSweeping != 0, After: r.TextTo(maxName)}
	n := r.Count(leastSource)
	p.Sources = make(map[string]Source)
	for range n {
		name := r.TextTo(maxName)
		p.Sources[name] = Source{Next: r.Varint(), Seen: engine.Millis(r.Varint())}
	}
	r.Check(len(p.Sources) == n) // no name twice
	if flags&flagClaim != 0 {
		copy(p.Claim[:], r.Take(len(p.Claim)))
		r.Check(p.Claim != Claim{})
	}
	if flags&flagTopicIDs != 0 {
		for _, name := range slices.Sorted(maps.Keys(p.Sources)) {
			at := p.Sources[name]
			copy(at.ID[:], r.Take(len(at.ID)))
			p.Sources[name] = at
		}
	}
	if !r.Done() || flags&^(flagSweeping|flagRebuilding|flagClaim|flagTopicIDs) != 0 {
		return nil, errPosition
	}
	return p, nil
}

// Clone returns a copy that shares nothing with p.
func (p *Position) Clone() *Position {
	c := *p
	c.Sources = maps.Clone(p.Sources)
	return &c
}

// Turn is the state of a merge between two records.
type Turn struct {
	// Sweeping: the last record taken had a claim, and now one head without claim
	// of each partition is taken.
	Sweeping bool
	// After is the topic that had its Turn last, "" if the first one is next.
	After string
}
