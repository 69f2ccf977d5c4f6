package rig

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/state"
)

// Claims writes a changelog as owners without transactions leave it, who die in the middle
// of batches, or are suspended and wake up too late. It knows which records count.
type Claims struct {
	Rand   *rand.Rand
	Engine *engine.Engine
	values [][]byte // of customers

	Log  []*kgo.Record
	Void map[string]int // keys that the owner must write again: the index of their first void record

	State    map[string][]byte   // what counts
	Position *changelog.Position // nil before the first one
	owner    changelog.Claim
	former   []changelog.Claim
	dead     bool // the owner

	// Copies are the states at positions.
	Copies []Copy
}

// Copy is the state at a position of the changelog.
type Copy struct {
	Next     int // the record after the position
	Position *changelog.Position
	State    map[string][]byte
}

// NewClaims returns an empty changelog that nobody owns.
func NewClaims(t testing.TB, rng *rand.Rand) *Claims {
	c := &Claims{Rand: rng, Engine: fixture.NewEngine(t, fixture.Rules), Void: map[string]int{}, State: map[string][]byte{}, dead: true}
	customer := c.Engine.NewCustomer("x")
	var out engine.Output
	for i := range 20 {
		at := engine.Millis(1_767_225_600_000 + i*1000)
		ev := engine.Event{Stream: plan.Web, Customer: "x", ID: fmt.Sprint(i), At: at, Fields: make([]expr.Value, len(c.Engine.Layout(plan.Web).Paths))}
		c.Engine.Evaluator().Apply(customer, &ev, at, &out)
		c.values = append(c.values, c.Engine.Append(nil, customer))
	}
	return c
}

// Write appends one record.
func (c *Claims) Write(by changelog.Stamp, key string, value []byte) {
	c.Log = append(c.Log, &kgo.Record{Topic: App + ".changelog", Key: []byte(key), Value: value, Headers: []kgo.RecordHeader{by.Header()}})
}

// lost notes that a key was overwritten by a void record.
func (c *Claims) lost(key string) {
	if _, ok := c.Void[key]; !ok {
		c.Void[key] = len(c.Log) - 1
	}
}

// Random has n things happen: owners come and die, suspended ones wake up, batches are
// written, and the changelog is compacted.
func (c *Claims) Random(n int) {
	for range n {
		switch what := c.Rand.IntN(10); {
		case c.dead || what == 0:
			c.Acquire()
		case what == 1:
			c.batch(true)
		case what <= 3:
			c.zombie()
		case what == 4:
			c.compact()
		default:
			c.batch(false)
		}
	}
}

// Acquire has another owner claim the partition.
func (c *Claims) Acquire() {
	if !c.dead {
		c.former = append(c.former, c.owner)
	}
	c.owner, c.dead = changelog.NewClaim(), false
	c.Log = append(c.Log, &kgo.Record{Topic: App + ".changelog", Key: changelog.ClaimKey(), Value: slices.Clone(c.owner[:])})
}

// change returns a customer's new value.
func (c *Claims) change() (id string, value []byte) {
	if c.Rand.IntN(4) > 0 {
		value = c.values[c.Rand.IntN(len(c.values))]
	}
	return fmt.Sprintf("c%d", c.Rand.IntN(12)), value
}

// batch is one of the owner; torn ones have no position, and their owner is dead.
func (c *Claims) batch(torn bool) {
	by := changelog.Stamp{Claim: c.owner, Seq: 1}
	if c.Position != nil {
		by.Seq = c.Position.Seq + 1
	}
	next := maps.Clone(c.State)
	var keys []string
	put := func(key string, value []byte) {
		c.Write(by, key, value)
		keys = append(keys, key)
		if torn {
			c.lost(key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(c.Void)) {
		id, ok := strings.CutPrefix(key, changelog.CustomerPrefix)
		if ok {
			put(key, next[id])
		}
	}
	versions := changelog.Versions{Hashes: c.Engine.Versions()}
	if _, lost := c.Void[changelog.VersionsKey]; c.Position == nil || lost {
		put(changelog.VersionsKey, versions.Append(nil))
	}
	for range c.Rand.IntN(4) {
		id, value := c.change()
		put(changelog.CustomerPrefix+id, value)
		if next[id] = value; value == nil {
			delete(next, id)
		}
	}
	if torn {
		c.dead = true
		return
	}
	pos := &changelog.Position{
		App: App, Partitions: 1, Seq: by.Seq, Claim: c.owner, Clock: 1_767_225_600_000, Latest: changelog.Never,
		Rules: changelog.HashVersions(c.Engine.Versions()), Sources: map[changelog.Input]changelog.Source{},
	}
	for id, value := range next {
		h, _ := state.DigestOf(id, value, nil)
		pos.Digest = pos.Digest.Add(h)
	}
	c.Write(by, changelog.PositionKey, pos.Append(nil))
	for _, key := range append(keys, changelog.PositionKey) {
		delete(c.Void, key)
	}
	c.State, c.Position = next, pos
	c.Copies = append(c.Copies, Copy{len(c.Log), pos, next})
}

// zombie is a batch of a former owner.
func (c *Claims) zombie() {
	if len(c.former) == 0 {
		return
	}
	by := changelog.Stamp{Claim: c.former[c.Rand.IntN(len(c.former))], Seq: 1}
	if c.Position != nil {
		by.Seq = 1 + c.Rand.Uint64N(c.Position.Seq)
	}
	for range 1 + c.Rand.IntN(3) {
		id, value := c.change()
		c.Write(by, changelog.CustomerPrefix+id, value)
		c.lost(changelog.CustomerPrefix + id)
	}
	if c.Rand.IntN(2) == 0 {
		wrong := changelog.Position{App: App, Partitions: 1, Seq: by.Seq, Claim: by.Claim, Digest: state.Digest{Lo: 1}, Sources: map[changelog.Input]changelog.Source{}}
		c.Write(by, changelog.PositionKey, wrong.Append(nil))
		c.lost(changelog.PositionKey)
	}
}

// compact removes what newer records of the same key make garbage, as far as
// min.compaction.lag.ms lets it: not where records are still to be written again.
func (c *Claims) compact() {
	end := len(c.Log)
	for _, at := range c.Void {
		end = min(end, at)
	}
	end = c.Rand.IntN(end + 1)
	last := map[string]int{}
	for i, r := range c.Log[:end] {
		last[string(r.Key)] = i
	}
	var kept []*kgo.Record
	moved := make([]int, len(c.Log)+1) // the new index of the record at i
	for i, r := range c.Log {
		moved[i] = len(kept)
		if i >= end || last[string(r.Key)] == i {
			kept = append(kept, r)
		}
	}
	moved[len(c.Log)] = len(kept)
	for key, at := range c.Void {
		c.Void[key] = moved[at]
	}
	for i := range c.Copies {
		c.Copies[i].Next = moved[c.Copies[i].Next]
	}
	c.Log = kept
}
