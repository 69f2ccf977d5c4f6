package checker

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/config"
)

// judge judges a history in which some rules have changed.
func (g *good) judge(t *testing.T, h *History, changing ...string) *Report {
	t.Helper()
	cfg := g.cfg
	cfg.Changing = func(rule string) bool { return slices.Contains(changing, rule) }
	r, err := cfg.Judge(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// found reports which invariants are violated.
func (r *Report) found() string {
	var l []string
	for _, v := range r.Violations {
		l = append(l, v.Invariant)
	}
	slices.Sort(l)
	return strings.Join(slices.Compact(l), " ")
}

// sequence matches the sequence of an output.
var sequence = regexp.MustCompile(`"sequence":(\d+)`)

// Of a rule that has changed, memberships in the end and the order of its records are judged.
func TestChangingRules(t *testing.T) {
	g := goodOf(t, config.EventsClock)
	of := func(r *kgo.Record, texts ...string) bool {
		return !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(string(r.Value), text) })
	}
	for _, c := range []struct {
		name     string
		changing []string
		want     string
		spoil    func(h *History)
	}{
		{"nothing", []string{"browsing", "cart_left"}, "", func(*History) {}},
		{"an entry of the new rule", []string{"browsing"}, "", func(h *History) {
			p, i := h.find(t, "changes", "browsing", `"cause":"event"`)
			h.replace(t, "changes", p, i, `"cause":"event"`, `"cause":"rule_change"`)
		}},
		{"an entry of another rule", []string{"buyer"}, "I10 I6", func(h *History) {
			p, i := h.find(t, "changes", "browsing", `"cause":"event"`)
			h.replace(t, "changes", p, i, `"cause":"event"`, `"cause":"backfill"`)
		}},
		{"a rule was removed and came back", []string{"browsing"}, "", func(h *History) {
			p, _ := h.find(t, "changes", "browsing", `"customer_id":"c1"`)
			for _, r := range h.Topics["changes"][p] {
				if of(r, "browsing", `"customer_id":"c1"`) {
					n, err := strconv.Atoi(sequence.FindStringSubmatch(string(r.Value))[1])
					if err != nil {
						t.Fatal(err)
					}
					if n > 2 {
						r.Value = sequence.ReplaceAll(r.Value, fmt.Appendf(nil, `"sequence":%d`, n-2))
					}
				}
			}
		}},
		{"it is emitted twice", []string{"browsing"}, "I1", func(h *History) {
			p, i := h.find(t, "changes", "browsing")
			h.double("changes", p, i)
		}},
		{"the exit of a removed rule is lost", []string{"browsing"}, "I2", func(h *History) {
			p, last := h.find(t, "changes", "browsing", `"customer_id":"c1"`)
			for i, r := range h.Topics["changes"][p] {
				if of(r, "browsing", `"customer_id":"c1"`) {
					last = i
				}
			}
			h.remove("changes", p, last)
		}},
		{"a trigger names a rule that has changed", []string{"browsing"}, "", func(h *History) {
			p, i := h.find(t, "triggers", `"segments":["`)
			h.replace(t, "triggers", p, i, `"segments":["`, `"segments":["browsing","`)
		}},
		{"a trigger that has changed fires elsewhere", []string{"cart_left"}, "", func(h *History) {
			p := int32(0)
			h.remove("triggers", p, slices.IndexFunc(h.Topics["triggers"][p], func(r *kgo.Record) bool { return of(r, "cart_left") }))
			for _, r := range h.Topics["triggers"][p] {
				if of(r, "cart_left") {
					r.Value = sequence.ReplaceAll(r.Value, []byte(`"sequence":1`))
				}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := copyOf(g.h)
			c.spoil(h)
			if r := g.judge(t, h, c.changing...); r.found() != c.want {
				t.Errorf("found %q, want %q: %v", r.found(), c.want, r)
			}
		})
	}
}
