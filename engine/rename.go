package engine

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/ruleset"
)

// stage is how far a customer has come with the renamings of a change, and what is left for
// it: all that follow, in one.
type stage struct {
	removed  []removed             // segments and stages that the rules do not have, sorted by id
	segments map[plan.Key]*renamed // by their keys before
	taken    map[plan.Key]bool     // the keys under which those go on
	triggers map[plan.Key]plan.Key // the keys before, with those under which they go on
	// The ids under which what is renamed was emitted so far, by those of today.
	formerSegments, formerTriggers map[string]string
}

// renamed is a segment or stage under another id.
type renamed struct {
	was  string
	from plan.Key // the key before
	to   *plan.SegmentPlan
}

// number is the one of the last change under an id that another rule had.
type number struct {
	key plan.Key
	seq uint32
}

// markKey is the key of the membership that says which renamings a customer has had. There is
// no such segment; its sequence is the mark.
var markKey = plan.RenamedKey()

// triggerID returns the id of a trigger in one of Versions.
func triggerID(id string) (string, bool) { return strings.CutPrefix(id, "trigger:") }

// stageAfter returns what is left for customers who have had some of the renamings.
func (e *Engine) stageAfter(done int, l []ruleset.Renaming, former map[string]string) stage {
	s := stage{
		segments: map[plan.Key]*renamed{}, taken: map[plan.Key]bool{}, triggers: map[plan.Key]plan.Key{},
		formerSegments: map[string]string{}, formerTriggers: map[string]string{},
	}
	l = l[done:]
	now, later := e.Versions(), laterIDs(l)
	ids := maps.Clone(former)
	for _, r := range l {
		for id := range r.To {
			ids[id] = former[id]
		}
	}
	for _, was := range slices.Sorted(maps.Keys(ids)) {
		id := was
		for _, r := range l {
			if next, ok := r.To[id]; ok {
				id = next
			}
		}
		_, isThere := now[id]
		switch name, isTrigger := triggerID(id); {
		case isTrigger && isThere && id != was:
			old, _ := triggerID(was)
			s.triggers[triggerKey(old)] = triggerKey(name)
			if !later[was] {
				s.formerTriggers[name] = old
			}
		case !isSegment(id):
		case !isThere:
			s.removed = append(s.removed, removed{id: was, version: ids[was], key: SegmentKey(was)})
		case id != was:
			x := &renamed{was: was, from: SegmentKey(was), to: e.segment(id)}
			s.segments[x.from], s.taken[x.to.Key] = x, true
			if !later[was] {
				s.formerSegments[id] = was
			}
		}
	}
	return s
}

// laterIDs returns the ids that belong to a rule only after one of the renamings. Customers
// who have had that one, and have no mark, have a record of it; but nothing is due of them.
func laterIDs(l []ruleset.Renaming) map[string]bool {
	later := map[string]bool{} // false of those that belonged to one before
	for _, r := range l {
		for old := range r.To {
			if _, ok := later[old]; !ok {
				later[old] = false
			}
		}
		for _, id := range r.To {
			if _, ok := later[id]; !ok {
				later[id] = true
			}
		}
	}
	return later
}

// segment returns the segment or stage of an id that there is.
func (e *Engine) segment(id string) *plan.SegmentPlan {
	i, _ := slices.BinarySearchFunc(e.p.Segments, id, func(s plan.SegmentPlan, id string) int { return strings.Compare(s.ID, id) })
	return &e.p.Segments[i]
}

// stageOf returns what is left for a customer. Without a mark, that is everything: what has
// been done to such a customer is not done again, because nothing has the former ids.
func (r *RuleChange) stageOf(c *Customer) *stage {
	if m := c.member(markKey); m != nil {
		if i := slices.Index(r.marks, m.seq); i >= 0 {
			return &r.stages[i+1]
		}
	}
	return &r.stages[0]
}

// rename gives a customer's memberships and the memory of triggers the ids of today. What
// rules of long ago had under those is put aside until emitRenames.
func (x *Evaluator) rename(c *Customer, s *stage) {
	x.stage, x.renamed, x.numbers = s, x.renamed[:0], x.numbers[:0]
	if len(s.triggers) > 0 && c.timed != nil {
		c.stale = moveMemory(c.timed, s.triggers) || c.stale
	}
	if len(s.segments) == 0 {
		return
	}
	var carried []membership
	c.members = slices.DeleteFunc(c.members, func(m membership) bool {
		switch r := s.segments[m.key]; {
		case r != nil:
			m.key = r.to.Key
			carried = append(carried, m)
			x.renamed = append(x.renamed, r)
		case s.taken[m.key] && !m.in():
			x.numbers = append(x.numbers, number{m.key, m.seq})
		default:
			return false
		}
		return true
	})
	for _, m := range carried {
		*c.memberOrNew(m.key) = m
	}
	c.stale = c.stale || len(carried) > 0
}

// moveMemory gives what triggers remember the keys of today, and reports whether there was
// anything.
func moveMemory(t *timed, to map[plan.Key]plan.Key) bool {
	var l []Memory
	t.memory = slices.DeleteFunc(t.memory, func(m Memory) bool {
		key, ok := to[m.Key]
		if ok {
			m.Key = key
			l = append(l, m)
		}
		return ok
	})
	t.memory = slices.DeleteFunc(t.memory, func(m Memory) bool { // of a rule of long ago
		return slices.ContainsFunc(l, func(o Memory) bool { return o.Key == m.Key })
	})
	t.memory = append(t.memory, l...)
	slices.SortFunc(t.memory, func(a, b Memory) int { return cmp.Compare(a.Key, b.Key) })
	return len(l) > 0
}

// underFormerIDs gives effects the ids that the rules had when those came due.
func (s *stage) underFormerIDs(effects []Effect) {
	for i := range effects {
		e := &effects[i]
		if e.Action == Fired {
			e.Name = former(s.formerTriggers, e.Name)
			continue
		}
		e.Name, e.From = former(s.formerSegments, e.Name), former(s.formerSegments, e.From)
		if e.Group != "" {
			e.Group = groupOf(e.Name)
		}
	}
}

// former returns an id before, which is the same one of what was not renamed.
func former(ids map[string]string, id string) string {
	if was, ok := ids[id]; ok {
		return was
	}
	return id
}

// emitRenames emits under which ids the customer is a member now, of segments that had others
// in effects that were due, or before.
func (x *Evaluator) emitRenames(effects []Effect, now Millis) {
	for i := range effects {
		if e := &effects[i]; e.Action != Fired && len(x.stage.segments) > 0 {
			if r := x.stage.segments[SegmentKey(e.Name)]; r != nil && !slices.Contains(x.renamed, r) {
				x.renamed = append(x.renamed, r)
			}
		}
	}
	for _, r := range x.renamed {
		if x.stage.taken[r.from] {
			x.numbers = append(x.numbers, number{r.from, x.c.member(r.to.Key).seq})
		}
	}
	for _, n := range x.numbers {
		x.goOn(n)
	}
	for _, r := range x.renamed {
		m := x.c.member(r.to.Key)
		if !m.in() {
			continue
		}
		e := Effect{
			Action: Renamed, Customer: x.c.ID, Name: r.to.ID, Version: r.to.Version, At: now, Sequence: uint64(m.seq),
			Cause: CauseRuleChange, Group: r.to.Group, From: r.was,
		}
		if old := x.c.member(r.from); old != nil && old.in() {
			e.From = "" // another rule has that id now, and the customer is a member of it
		}
		x.out.Effects = append(x.out.Effects, e)
	}
}

// goOn lets the numbers under an id that another rule had go on behind those.
func (x *Evaluator) goOn(n number) {
	m := x.c.memberOrNew(n.key)
	if m.seq < n.seq || m.seq == n.seq && m.in() {
		odd := m.seq & 1
		m.seq = n.seq + (n.seq^odd)&1
		if m.seq == n.seq && odd == 1 {
			m.seq += 2
		}
	}
}

// doubtful are the keys that a customer can have both before a change and after it, with other
// meanings.
type doubtful struct{ segments, triggers map[plan.Key]bool }

func (e *Engine) doubtful(first *stage) doubtful {
	d := doubtful{segments: map[plan.Key]bool{}, triggers: map[plan.Key]bool{}}
	gone := map[plan.Key]bool{}
	for i := range first.removed {
		gone[first.removed[i].key] = true
	}
	for i := range e.p.Segments {
		key := e.p.Segments[i].Key
		if _, leaves := first.segments[key]; leaves || gone[key] {
			d.segments[key] = true
		}
	}
	for i := range e.p.Triggers {
		key := e.p.Triggers[i].Key
		if _, leaves := first.triggers[key]; leaves {
			d.triggers[key] = true
		}
	}
	return d
}

// of reports whether a customer has one of the keys.
func (d *doubtful) of(c *Customer) bool {
	return len(d.segments) > 0 && slices.ContainsFunc(c.members, func(m membership) bool { return d.segments[m.key] }) ||
		len(d.triggers) > 0 && slices.ContainsFunc(c.memory(), func(m Memory) bool { return d.triggers[m.Key] })
}

// mark notes that a customer has been brought through all renamings, if the ids alone do not
// say it.
func (r *RuleChange) mark(c *Customer) {
	if r.doubtful.of(c) {
		c.memberOrNew(markKey).seq = r.marks[len(r.marks)-1]
	} else if i := c.placeOf(markKey); i < len(c.members) && c.members[i].key == markKey {
		c.members = slices.Delete(c.members, i, i+1)
	}
}
