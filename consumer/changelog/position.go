package changelog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
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
	// Sources says how far every partition of an input that was ever read has been taken.
	Sources map[Input]Source
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
	// First is the offset at which reading began, 0 if that is the beginning of the
	// partition, whatever is left there.
	First int64
	Next  int64 // the next offset to take
	// Seen is the greatest event time up to and including the record at Next, if
	// that had been fetched.
	Seen engine.Millis
	// ID is that of the topic, which is another one if the topic is created again;
	// zero if the position was written before ids were, or the brokers have none.
	ID TopicID
}

// TopicID distinguishes topics of the same name.
type TopicID [16]byte

// The first byte of a Position. A reader refuses any other. The first format is written
// wherever it can hold the position: where a task reads of every topic the partition of
// its own number alone, and from the beginning.
const (
	formatEqual = 1
	formatAny   = 2
)

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
//	| format | flags (1) | app | partitions | seq | clock | latest | digest (16) |
//	| folded | dead letters | forwarded | rules (16) | Turn |
//	| number of sources | name, beside, first, next, seen | … | claim (8), if there is one |
//	| topic ids (16 each), if there are any |
//
// Integers are varints, the signed ones zigzag; texts have their length in front. Format
// 1 has no beside and no first, which are 0 everywhere; in format 2 beside, which is
// unsigned as first is, is also behind the topic of Turn.
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
	names := sortedInputs(p.Sources)
	identified := slices.ContainsFunc(names, func(in Input) bool { return p.Sources[in].ID != TopicID{} })
	format := p.format()
	input := func(b []byte, in Input) []byte {
		b = wire.AppendText(b, in.Topic)
		if format == formatAny {
			b = binary.AppendUvarint(b, uint64(in.Beside))
		}
		return b
	}
	if identified {
		flags |= flagTopicIDs
	}
	b = append(b, format, flags)
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
	b = input(b, p.Turn.After)
	b = binary.AppendUvarint(b, uint64(len(p.Sources)))
	for _, name := range names {
		b = input(b, name)
		if format == formatAny {
			b = binary.AppendUvarint(b, uint64(p.Sources[name].First))
		}
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

// format returns the first format that can hold the position.
func (p *Position) format() byte {
	if p.Turn.After.Beside != 0 {
		return formatAny
	}
	for in, at := range p.Sources {
		if in.Beside != 0 || at.First != 0 {
			return formatAny
		}
	}
	return formatEqual
}

// DecodePosition reads the stored form.
func DecodePosition(b []byte) (*Position, error) {
	if len(b) == 0 || b[0] != formatEqual && b[0] != formatAny {
		return nil, fmt.Errorf("%w: its format is not %d or %d; it was written by another version", errPosition, formatEqual, formatAny)
	}
	r := wire.NewReader(b[1:])
	input := func() Input {
		in := Input{Topic: r.TextTo(maxName)}
		if b[0] == formatAny {
			in.Beside = int32(r.UvarintTo(maxPartitions))
		}
		return in
	}
	flags := r.Byte()
	p := &Position{
		Rebuilding: flags&flagRebuilding != 0,
		App:        r.TextTo(maxName), Partitions: int32(r.UvarintTo(maxPartitions)), Seq: r.Uvarint(),
		Clock: engine.Millis(r.Varint()), Latest: engine.Millis(r.Varint()),
		Digest: state.Digest{Hi: r.Uint64BE(), Lo: r.Uint64BE()},
		Folded: r.Uvarint(), DeadLetters: r.Uvarint(), Forwarded: r.Uvarint(),
	}
	copy(p.Rules[:], r.Take(len(p.Rules)))
	p.Turn = Turn{Sweeping: flags&flagSweeping != 0, After: input()}
	n := r.Count(leastSource)
	p.Sources = make(map[Input]Source)
	for range n {
		in, at := input(), Source{}
		if b[0] == formatAny {
			at.First = int64(r.UvarintTo(math.MaxInt64))
		}
		at.Next, at.Seen = r.Varint(), engine.Millis(r.Varint())
		p.Sources[in] = at
	}
	r.Check(len(p.Sources) == n && p.format() == b[0]) // no input twice, and in the form it is written in
	if flags&flagClaim != 0 {
		copy(p.Claim[:], r.Take(len(p.Claim)))
		r.Check(p.Claim != Claim{})
	}
	if flags&flagTopicIDs != 0 {
		for _, name := range sortedInputs(p.Sources) {
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
	// After is the input that had its turn last, zero if the first one is next.
	After Input
}
