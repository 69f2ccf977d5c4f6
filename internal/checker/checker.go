// Package checker says whether what an engine left in Kafka is what it promises:
// nothing lost, nothing twice, nothing early. It reads the committed topics and
// judges them by themselves, by the inputs, and by two other computations of the
// same: the naive oracle of internal/sim, and the engine run once over the inputs
// without Kafka, batches or faults.
//
// The invariants:
//
//	I1  sequences are 1, 2, 3 … and alternate; ids are unique; a customer's
//	    instants never go back; records are on their customer's partition
//	I2  final memberships are those that the oracle computes from all events
//	I3  every input record, and every event of one that is several, was folded,
//	    forwarded or refused, once
//	I4  positions follow each other without a gap; clocks and offsets never go back
//	I5  the digest of the changelog is that of its last position, and local copies
//	    agree with it
//	I6  the effects of each customer are those of one run over the inputs
//	I7  nothing fired before its time
//	I9  the inputs were read to their end
//	I10 where rules changed, nothing was emitted of the others because of that
package checker

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/state"
)

// Config says what was run. Outputs must be JSON.
type Config struct {
	// Kafka is how brokers are reached. Only Load needs it.
	Kafka []kgo.Opt
	// App, Inputs, Changes and Triggers are those of the engine's own Config.
	App               string
	Inputs            []string
	Changes, Triggers string

	// Spec is what rule files say in the end (rule.Set), for the oracle.
	Spec *plan.Spec
	// Engine runs the same rules.
	Engine *engine.Engine
	// Changing reports whether a segment or trigger has not been the same all along, or is
	// one that was removed. Of those I2 holds, and nothing else is compared (I6); all others
	// must be as if the rules had been those of Spec all along. Customers with late events
	// are left out of I6: those take effect at the customer's instant, which timers of all
	// rules move. nil: no rule has changed.
	Changing func(rule string) bool
	// Read makes an event of a record: (*schemas.Reader).Read.
	Read func(*schemas.Record, *engine.Event) (schemas.Result, error)
	// Zones finds time zones by name.
	Zones func(name string) (*time.Location, bool)

	// Clock and Grace are the engine's.
	//
	// With the wall clock, I6 holds for customers whose every record came within
	// Grace of its event time (and not before it), and whose records stand in the
	// order of their times across topics; see Exact. An erasure is a record like
	// any other, of the time that it has in Kafka.
	//
	// With the clock of events, I6 holds for any inputs that were complete before
	// the engine began.
	//
	// In both cases customers are left out, and counted, that had records on a wrong
	// partition: when those are taken depends on when they were forwarded. With the
	// clock of events, so are customers of the same partition with late records,
	// since the clock waits for what is forwarded.
	Clock config.ClockMode
	Grace engine.Millis
	// Until is that of a run with an end, which makes forwarded records exact too;
	// 0 if there was none.
	Until engine.Millis
	// Horizon is the greatest event time that was believed; later ones are dead
	// letters. 0 means that none was too late.
	Horizon engine.Millis
	// Imported: what the topic of history has was complete before the engine began, so that it
	// is one more input, whose marks are no records.
	Imported bool
	// Settled is an instant by which everything that was due has certainly been
	// emitted. The last position's clock is one; give a later one if you waited for it.
	Settled engine.Millis

	// Compacted: the changelog was compacted, so positions may be missing (I4).
	Compacted bool
	// AtLeastOnce allows exact duplicates of outputs, dead letters and forwards, and
	// nothing else. Customers that I6 leaves out are not judged by what was emitted
	// about them at all: the effects of a late record can be as of one instant by a
	// batch that came to nothing, and as of another by the next.
	AtLeastOnce bool
	// Skew is how far wall clocks of instances were apart (I7).
	Skew engine.Millis
	// Exact reports whether a customer is to be compared record for record (I6).
	// nil means that all are.
	Exact func(customer string) bool
	// Stores are local copies that must agree with the changelog: with its end, or
	// with an earlier position of it.
	Stores []*state.Store
}

// Violation is one thing that must not be.
type Violation struct {
	Invariant string // "I1" …
	Text      string // with what is needed to find the place
}

// String returns both on one line.
func (v Violation) String() string { return v.Invariant + ": " + v.Text }

// Report says what was judged and what was found.
type Report struct {
	Events       int // valid input records, forwarded ones counted once
	Bad          int // input records that had to become dead letters
	Erasures     int
	Forwarded    int
	Customers    int
	Changes      int // outputs, receipts of erasures included
	Triggers     int
	DeadLetters  int
	Transactions uint64
	Repeats      int // outputs that stood there again (AtLeastOnce)
	// Compared is how many customers I6 judged, Left how many it could not, and
	// Late how many events of those judged came after their time.
	Compared, Left, Late int

	Violations []Violation
	// Hidden is how many more violations of each invariant there are.
	Hidden map[string]int
}

// shown is how many violations of one invariant are kept.
const shown = 10

func (r *Report) violate(invariant, format string, args ...any) {
	n := 0
	for _, v := range r.Violations {
		if v.Invariant == invariant {
			n++
		}
	}
	if n >= shown {
		if r.Hidden == nil {
			r.Hidden = map[string]int{}
		}
		r.Hidden[invariant]++
		return
	}
	r.Violations = append(r.Violations, Violation{invariant, fmt.Sprintf(format, args...)})
}

// String returns the counts on one line and a violation on each further one.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d events (%d late), %d bad, %d erasures, %d forwarded of %d customers; %d changes, %d triggers, %d dead letters in %d transactions; compared %d customers, left %d; %d violations",
		r.Events, r.Late, r.Bad, r.Erasures, r.Forwarded, r.Customers, r.Changes, r.Triggers, r.DeadLetters, r.Transactions, r.Compared, r.Left, r.Count())
	for _, v := range r.Violations {
		fmt.Fprintf(&b, "\n%v", v)
	}
	for i, n := range r.Hidden {
		fmt.Fprintf(&b, "\n%s: and %d more", i, n)
	}
	return b.String()
}

// Count returns how many violations there are.
func (r *Report) Count() int {
	n := len(r.Violations)
	for _, h := range r.Hidden {
		n += h
	}
	return n
}

// Check reads the topics and judges them. The engine must have stopped, or be
// idle. An error means that they could not be read.
func Check(ctx context.Context, cfg Config) (*Report, error) {
	h, err := Load(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return cfg.Judge(ctx, h)
}

// judgement is the work of one Judge.
type judgement struct {
	cfg   *Config
	h     *History
	r     *Report
	route func(customer string) int32

	changes, triggers map[int32][]*output
	parts             map[int32]*part
	was               map[string]string             // the ids before of segments that were renamed
	gone              map[string]bool               // those ids
	letters           map[coordinates][]*kgo.Record // dead letters by the record that they are about
}

// part is what is known of one partition.
type part struct {
	last    *changelog.Position // nil if there is none
	bySeq   map[uint64]state.Digest
	sources map[source][]*input // by input, up to the last position
	emitted map[string]*emitted // by customer
}

// emitted is what was emitted about a customer.
type emitted struct {
	changes, triggers []*output
	// doubts are violations if the customer can be judged record for record.
	doubts []Violation
}

// doubt notes a violation in what was emitted about a customer. Delivered at least
// once, effects whose instant depends on when a record was taken may be emitted twice
// in two ways, so only customers count whose effects are the same each time.
func (j *judgement) doubt(t *emitted, invariant, format string, args ...any) {
	if j.cfg.AtLeastOnce {
		t.doubts = append(t.doubts, Violation{invariant, fmt.Sprintf(format, args...)})
	} else {
		j.violate(invariant, format, args...)
	}
}

// Judge judges topics that have been read. An error means that something is not
// what an engine writes, so that nothing can be said of it.
func (c Config) Judge(ctx context.Context, h *History) (*Report, error) {
	j := &judgement{cfg: &c, h: h, r: &Report{}, route: router(h.Partitions), parts: map[int32]*part{}, was: map[string]string{}, gone: map[string]bool{}}
	for id, was := range c.Engine.Plan().Was() {
		j.was[id], j.gone[was] = was, true
	}
	for p := range h.Partitions {
		j.parts[p] = &part{bySeq: map[uint64]state.Digest{}, sources: map[source][]*input{}, emitted: map[string]*emitted{}}
	}
	for _, step := range []func(context.Context) error{
		j.readOutputs, j.judgeSequences, j.judgeChangelog, j.judgeStores, j.readLetters, j.judgeInputs, j.judgeMeaning,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return j.r, nil
}

func (j *judgement) violate(invariant, format string, args ...any) {
	j.r.violate(invariant, format, args...)
}

// changing reports whether a segment or trigger has not been the same all along.
func (c *Config) changing(rule string) bool { return c.Changing != nil && c.Changing(rule) }

// router returns where a customer's records belong: where the default partitioner
// of Kafka's own client puts them.
func router(partitions int32) func(customer string) int32 {
	p := kgo.StickyKeyPartitioner(nil).ForTopic("")
	return func(customer string) int32 {
		return int32(p.Partition(&kgo.Record{Key: []byte(customer)}, int(partitions)))
	}
}
