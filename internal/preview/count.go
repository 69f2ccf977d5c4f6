package preview

import (
	"maps"
	"slices"
	"strings"

	"github.com/zeebo/xxh3"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/task"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/ruleset"
)

// counting gathers what becomes of customers.
type counting struct {
	cfg *config.Config
	o   *Options
	own ruleset.Set
	now map[string]string // versions of the rules to be

	ran, judged int // partitions that have state; customers in the sample
	customers   int // that were seen, in the sample or not
	affected    int // in the sample, of whom something is emitted because of the rules
	due         Due
	lacking     bool // facts that rules read
	former      bool
	live        bool // the clock is that of now, in some partition
	at          clocks
	since       map[string]engine.Millis // the earliest records of inputs
	short       []string
	before      map[string]string // versions of the rules in force, of all partitions
	changed     map[string]bool   // rules that differ from those in force in some partition
	unknown     map[string]bool   // rules that need history, which was not folded
	renamed     ruleset.Renames   // the ids of rules in force that have others then
	was         map[string]string // the same, by the ids to be
	unmet       []string          // rules that were not what they say, in some partition
	rules       map[string]*counts
	byKey       map[engine.Key]*counts
}

// counts are those of one segment or stage, in the sample.
type counts struct {
	size            int // before the change, and after what time alone brings
	entered, exited int
	examples        [2][]Example // by entered, exited
}

func newCounting(cfg *config.Config, o *Options) *counting {
	c := &counting{
		cfg: cfg, o: o, own: ruleset.Of(cfg.Engine.Plan()), now: cfg.Engine.Versions(), at: newClocks(), since: map[string]engine.Millis{},
		before: map[string]string{}, changed: map[string]bool{}, unknown: map[string]bool{}, renamed: ruleset.Renames{}, was: map[string]string{}, rules: map[string]*counts{}, byKey: map[engine.Key]*counts{},
	}
	c.add(c.now)
	return c
}

// add makes room for segments and stages.
func (c *counting) add(versions map[string]string) {
	for id := range versions {
		if isSegment(id) && c.rules[id] == nil {
			c.rules[id] = &counts{}
		}
	}
}

// then returns what a rule in force is called under the rules to be.
func (c *counting) then(id string) string {
	if next, ok := c.renamed[id]; ok {
		return next
	}
	return id
}

// isSegment reports whether an id of versions is that of a segment or stage.
func isSegment(id string) bool { return !strings.Contains(id, ":") }

// begin takes in how a partition differs from the rules to be.
func (c *counting) begin(p *task.Preview) {
	c.ran++
	c.at.add(p.At)
	c.live, c.former = c.live || p.At > p.Position.Clock, c.former || p.Former && !p.Same
	maps.Copy(c.before, p.Before)
	for id, next := range p.Renamed {
		c.renamed[id], c.was[next] = next, id
	}
	c.unmet = append(c.unmet, p.Unmet...)
	c.add(p.Before)
	for id := range p.Before {
		c.byKey[engine.SegmentKey(id)] = c.rules[c.then(id)]
	}
	for id, hash := range c.own.Rules {
		if p.Kept.Rules[id] != hash {
			c.changed[id] = true
		}
	}
	if p.NeedsHistory() && !c.o.History {
		maps.Copy(c.unknown, p.Differs.NeedHistory(c.cfg.Engine.Plan()))
	}
}

// wanted reports whether a customer is in the sample, and counts all of them.
func (c *counting) wanted(id string) bool {
	c.customers++
	return c.o.Sample <= 1 || xxh3.HashString(id)%uint64(c.o.Sample) == 0
}

// customer counts what becomes of one.
func (c *counting) customer(before []engine.Key, effects []engine.Effect) {
	c.judged++
	for _, key := range before {
		if r := c.byKey[key]; r != nil {
			r.size++
		}
	}
	affected := false
	for i := range effects {
		e := &effects[i]
		switch {
		case e.Action == engine.Fired:
			c.due.Firings++
		case e.Action == engine.Renamed: // of all members, and nobody enters or leaves
		case e.Cause != engine.CauseRuleChange:
			c.due.Changes++
			c.rules[c.then(e.Name)].size += step(e)
		case !c.unknown[e.Name]:
			affected = true
			c.rules[e.Name].take(e, c.o.NoExamples)
		}
	}
	if affected {
		c.affected++
	}
}

// step is by how much a change moves the size of its segment.
func step(e *engine.Effect) int {
	if e.Action == engine.Entered {
		return 1
	}
	return -1
}

// MostExamples is how many examples a rule has.
const MostExamples = 10

// take counts a change that comes of the rules.
func (r *counts) take(e *engine.Effect, noExamples bool) {
	side := 0
	if e.Action == engine.Entered {
		r.entered++
	} else {
		side = 1
		r.exited++
	}
	if l := &r.examples[side]; !noExamples && len(*l) < MostExamples {
		x := Example{Customer: e.Customer, Action: e.Action.String(), At: e.At.String(), Values: map[string]string{}}
		for _, p := range e.Evidence {
			x.Values[p.Name] = p.Value
		}
		*l = append(*l, x)
	}
}

// examplesOf returns as many who enter as who leave, and more of the ones if there are few of
// the others.
func (r *counts) examplesOf() []Example {
	in, out := r.examples[0], r.examples[1]
	half := max(MostExamples/2, MostExamples-len(out))
	in = in[:min(len(in), half)]
	out = out[:min(len(out), MostExamples-len(in))]
	return slices.Concat([]Example{}, in, out)
}
