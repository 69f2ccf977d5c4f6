package ruleset

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/segmill/segmill/engine/plan"
)

// Renames are the ids under which rules go on, by those that they had, both as
// [plan.Plan.Versions] has them. All of them happen at once: rules may take each other's ids.
type Renames map[string]string

// Renaming is one change of rules in which some go on under other ids. Renamings of a change
// that was given up for another one are followed by its.
type Renaming struct {
	// Mark is for customers of whom the ids alone do not say whether they have been renamed. It
	// is even and not 0, and depends on all changes up to this one.
	Mark uint32
	To   Renames
}

// RenamesTo returns which rules go on under other ids in a plan, by what the plan says they
// were. before are the versions, by id, of the rules in force, ever those of all rules under
// which customers may be.
//
// A rule that was not there is not renamed, nor is one whose new id is that of a rule which
// keeps it: then the renaming is an old one, which has been done. If rules have taken each
// other's ids in a ring, that is told by the versions: of those who have gone round, one at
// least has the version that belonged to its former id, and not the one of its new id.
func RenamesTo(p *plan.Plan, before, ever map[string]string) Renames {
	wanted, done := Renames{}, Renames{}
	was := p.Was()
	for _, id := range slices.Sorted(maps.Keys(was)) {
		if _, ok := before[was[id]]; ok {
			wanted[was[id]] = id
		}
	}
	for n := -1; n < len(done); {
		n = len(done)
		for old, id := range wanted {
			_, taken := ever[id]
			if _, leaves := done[id]; !taken || leaves {
				done[old] = id
			}
		}
	}
	now := p.Versions()
	for old := range wanted {
		ring := wanted.ring(old)
		if slices.ContainsFunc(ring, func(old string) bool {
			id := wanted[old]
			return before[old] == now[id] && before[id] != now[id]
		}) {
			for _, old := range ring {
				done[old] = wanted[old]
			}
		}
	}
	return done
}

// Unmet returns the rules of a plan that say they had another id, where neither that one nor
// their own is in force: perhaps it is misspelt. before are the versions in force.
func Unmet(p *plan.Plan, before map[string]string) (l []string) {
	was := p.Was()
	for _, id := range slices.Sorted(maps.Keys(was)) {
		_, isThere := before[id]
		if _, wasThere := before[was[id]]; !isThere && !wasThere {
			l = append(l, id+" (was "+was[id]+")")
		}
	}
	return l
}

// ring returns the ids of the ring that an id is in, nil if it is in none.
func (r Renames) ring(id string) (ring []string) {
	for at := id; ; {
		next, ok := r[at]
		if !ok || len(ring) > len(r) {
			return nil
		}
		ring = append(ring, at)
		if at = next; at == id {
			return ring
		}
	}
}

// before returns the ids that rules had before, by those of today. The rule that took the id
// of another one, and was not called otherwise, had none that any rule can have.
func (r Renames) before() func(id string) string {
	was := map[string]string{}
	for old, id := range r {
		was[id] = old
	}
	return func(id string) string {
		if old, ok := was[id]; ok {
			return old
		}
		if _, leaves := r[id]; leaves {
			return "new " + id
		}
		return id
	}
}

// Then returns renamings followed by another one, of the rules with a hash; the same ones if
// nothing is renamed. in is the hash of the rules in force.
func Then(l []Renaming, r Renames, in, rules [16]byte) []Renaming {
	if len(r) == 0 {
		return l
	}
	b := append(in[:len(in):len(in)], rules[:]...)
	for _, earlier := range l {
		b = binary.LittleEndian.AppendUint32(b, earlier.Mark)
	}
	return append(slices.Clip(l), Renaming{Mark: max(2, uint32(xxh3.Hash(b))&^1), To: r})
}
