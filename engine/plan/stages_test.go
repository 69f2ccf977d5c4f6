package plan

import (
	"math/rand"
	"slices"
	"testing"
)

// What is carried from stage to stage is what each makes of all before it.
func TestStagesGoOn(t *testing.T) {
	g := rand.New(rand.NewSource(1))
	for range 200 {
		v := newVersions()
		var parts []string
		var conds [][]int
		var recent []int
		for range g.Intn(40) {
			part := string(rune('a' + g.Intn(3)))
			parts = append(parts, part)
			v.add(part)
			if got, want := v.version(), version(parts...); got != want {
				t.Fatalf("%q: version %s, want %s", parts, got, want)
			}
			cond := slices.Clone(g.Perm(40)[:g.Intn(20)])
			conds = append(conds, cond)
			recent = lastRead(cond, recent)
			if want := readBy(conds); !slices.Equal(recent, want) {
				t.Fatalf("%v: read %v, want %v", conds, recent, want)
			}
		}
	}
}

// readBy is lastRead of all conditions at once.
func readBy(conds [][]int) (l []int) {
	for _, cond := range slices.Backward(conds) {
		for _, in := range cond {
			if len(l) < MaxEvidence && !slices.Contains(l, in) {
				l = append(l, in)
			}
		}
	}
	return l
}
