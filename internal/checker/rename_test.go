package checker

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Renames carry members over, and nothing else may be wrong about them.
func TestRenames(t *testing.T) {
	for _, c := range []struct {
		said string // what is emitted about one customer: action, segment, sequence, from
		bad  bool
	}{
		{"entered a 1, renamed b 1 a, exited b 2", false},
		{"entered a 1, renamed b 1 a, entered a 1, exited b 2, exited a 2", false},
		{"entered a 1, exited a 2, entered b 3", false}, // others were told
		{"entered a 1, entered b 1, renamed a 3, renamed b 3, exited a 4, exited b 4", false},
		{"entered b 1, exited b 2, entered a 1, renamed b 3 a, exited b 4", false},
		{"renamed b 1 a", true},
		{"entered a 1, exited a 2, renamed b 3 a", true},
		{"entered a 1, renamed b 2 a", true},
		{"entered a 3, renamed b 1 a", true},
		{"entered a 1, renamed b 1 a, exited a 2", true},
		{"entered a 1, renamed b 1 a, entered b 2", true},
		{"entered a 1, renamed b 1 a, exited b 3", true},
		{"entered b 1, exited b 2, entered a 1, renamed b 1 a", true},
		{"entered b 3", true},
	} {
		j := &judgement{cfg: &Config{}, r: &Report{}, was: map[string]string{"b": "a"}}
		e := &emitted{}
		for i, said := range strings.Split(c.said, ", ") {
			o := &output{Cause: "rule_change", Effective: time.UnixMilli(int64(i)), where: "here"}
			if n, _ := fmt.Sscan(said, &o.Action, &o.Segment, &o.Sequence, &o.From); n < 3 {
				t.Fatal(said)
			}
			e.changes = append(e.changes, o)
		}
		j.judgeChanges(e)
		if got := j.r.Count() > 0; got != c.bad {
			t.Errorf("%s: a violation is %v", c.said, got)
		}
	}
}
