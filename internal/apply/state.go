package apply

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/segmill/segmill/consumer/ruled"
	"github.com/segmill/segmill/consumer/rulelog"
	"github.com/segmill/segmill/internal/app"
)

// State is which rules are in force, and how far they are.
type State struct {
	App        string      `json:"app"`
	Set        uint64      `json:"set"`
	Who        string      `json:"who"`
	At         string      `json:"at"`
	Why        string      `json:"why"`
	Files      int         `json:"files"`
	Ready      bool        `json:"ready"` // all partitions are under the set
	Partitions []Partition `json:"partitions"`
	Rules      []Rule      `json:"rules"`
}

// Partition is what a partition is under.
type Partition struct {
	Partition int32 `json:"partition"`
	// Set is 0 if its rules are not in the log, or if it is empty.
	Set   uint64 `json:"set"`
	State string `json:"state"`
}

// The states of partitions and rules.
const (
	Ready    = "ready"
	Changing = "changing" // a partition: its customers are being brought under the set
	Waiting  = "waiting"  // it is under another set yet
	Empty    = "empty"    // it has no customers
)

// Rule is how far a rule is.
type Rule struct {
	ID string `json:"id"`
	// Ready is in how many partitions its members are those of the set in force.
	Ready int    `json:"ready"`
	State string `json:"state"` // ready or changing
}

// State reads how far the partitions are.
func (s *Session) State(ctx context.Context) (*State, error) {
	e, err := s.Set(max(1, s.View.Number()))
	if err != nil {
		return nil, err
	}
	parts, err := s.parts.Partitions(ctx)
	if err != nil {
		return nil, err
	}
	files, err := e.Files()
	if err != nil {
		return nil, err
	}
	rules, err := app.CompileSet(e)
	if err != nil {
		return nil, fmt.Errorf("this version can't read %s: use the version that applied it, or a later one: %w", e, err)
	}
	is := judged(e, rules)
	st := &State{App: s.App, Set: e.Number, Who: e.Who, At: e.At.String(), Why: e.Why, Files: len(files), Ready: true, Partitions: []Partition{}, Rules: []Rule{}}
	for i := range parts {
		p := s.partition(&parts[i], e, is)
		st.Ready = st.Ready && (p.State == Ready || p.State == Empty)
		st.Partitions = append(st.Partitions, p)
	}
	ready := s.readyIn(parts, is, rules.Engine.Versions())
	for _, id := range rules.IDs() {
		r := Rule{ID: id, Ready: ready(id), State: Ready}
		if r.Ready < len(parts) {
			r.State = Changing
		}
		st.Rules = append(st.Rules, r)
	}
	return st, nil
}

// judged returns what reports whether a partition is under a set with all its customers. The
// version that applied it and the one that runs it may know it by different hashes.
func judged(e *rulelog.Entry, rules *app.Rules) func(*ruled.Partition) bool {
	own := rules.Versions()
	return func(p *ruled.Partition) bool { return p.Is(e.Versions) || p.Is(own) }
}

// partition says what a partition is under.
func (s *Session) partition(p *ruled.Partition, e *rulelog.Entry, is func(*ruled.Partition) bool) Partition {
	x := Partition{Partition: p.Number}
	switch {
	case p.Empty:
		x.State = Empty
		return x
	case is(p):
		x.Set, x.State = e.Number, Ready
		return x
	case p.Changing:
		x.State = Changing
	default:
		x.State = Waiting
	}
	if of := s.View.WithVersions(p.Versions); of != nil {
		x.Set = of.Number
	}
	return x
}

// readyIn returns in how many partitions a rule is as it is in the set in force, though others
// may not be.
func (s *Session) readyIn(parts []ruled.Partition, judged func(*ruled.Partition) bool, want map[string]string) func(id string) int {
	known := map[uint64]map[string]string{}
	versions := func(of *rulelog.Entry) map[string]string {
		if of == nil {
			return nil
		}
		if _, ok := known[of.Number]; !ok {
			known[of.Number] = nil
			if rules, err := app.CompileSet(of); err == nil {
				known[of.Number] = rules.Engine.Versions()
			}
		}
		return known[of.Number]
	}
	var has []func(id string) bool
	for i := range parts {
		p := &parts[i]
		switch {
		case judged(p):
			has = append(has, func(string) bool { return true })
		case p.Changing:
			has = append(has, func(id string) bool { return p.Former[id] == want[id] && p.Now[id] == want[id] })
		default:
			is := versions(s.View.WithVersions(p.Versions))
			has = append(has, func(id string) bool { return is[id] == want[id] })
		}
	}
	return func(id string) (n int) {
		for _, ok := range has {
			if ok(id) {
				n++
			}
		}
		return n
	}
}

// under returns how many partitions are under a set with all their customers.
func under(parts []ruled.Partition, is func(*ruled.Partition) bool) (n int) {
	for i := range parts {
		if is(&parts[i]) {
			n++
		}
	}
	return n
}

// maxRules is how many rules a text lists whatever their state is: of more, those that are
// ready are counted only.
const maxRules = 40

// Lines returns the state as a text for people.
func (st *State) Lines() []string {
	head := fmt.Sprintf("%s: set %d in force, by %s at %s", st.App, st.Set, st.Who, st.At)
	if st.Why != "" {
		head += " (" + st.Why + ")"
	}
	lines := []string{head, ""}
	rows := [][]string{{"PARTITION", "SET", "STATE"}}
	for _, p := range st.Partitions {
		set := "-"
		if p.Set > 0 {
			set = fmt.Sprint(p.Set)
		} else if p.State != Empty {
			set = "unknown"
		}
		rows = append(rows, []string{fmt.Sprint(p.Partition), set, p.State})
	}
	lines = append(append(lines, table(rows)...), "")
	rows = [][]string{{"RULE", "STATE"}}
	ready := 0
	for _, r := range st.Rules {
		text := r.State
		if r.State != Ready {
			text = fmt.Sprintf("changing: ready in %d of %d partitions", r.Ready, len(st.Partitions))
		}
		if r.State == Ready && len(st.Rules) > maxRules {
			ready++
			continue
		}
		rows = append(rows, []string{r.ID, text})
	}
	if len(rows) > 1 {
		lines = append(lines, table(rows)...)
	}
	if ready > 0 {
		lines = append(lines, fmt.Sprintf("%s ready", app.Plural(ready, "rule")))
	}
	return lines
}

// table lays out rows in columns.
func table(rows [][]string) (lines []string) {
	width := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, cell := range r {
			width[i] = max(width[i], len(cell))
		}
	}
	for _, r := range rows {
		var b strings.Builder
		for i, cell := range r {
			fmt.Fprintf(&b, "%-*s  ", width[i], cell)
		}
		lines = append(lines, strings.TrimRight(b.String(), " "))
	}
	return slices.Clip(lines)
}
