package group_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/task"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/schemas"
)

// ruleSet is a set of rules: those of chaosRules, and some that change while a seed runs.
type ruleSet struct {
	name   string
	rules  *app.Rules
	reader *schemas.Reader
}

// ruleSets are the sets that a seed has had.
type ruleSets struct {
	mu sync.Mutex // held while an instance is made, so that it gets the newest
	// all are the sets so far, the newest last.
	all []*ruleSet
	// changing are the conditions of rules that change, by id; which are there.
	changing map[string]string
}

// changingPrefix is what ids of rules that change begin with.
const changingPrefix = "var_"

// isChanging reports whether a rule changes while a seed runs.
func isChanging(rule string) bool { return strings.HasPrefix(rule, changingPrefix) }

// newest returns the rules that all instances are to be under.
func (s *ruleSets) newest() *ruleSet { return s.all[len(s.all)-1] }

// changed reports whether rules have changed.
func (s *ruleSets) changed() bool { return len(s.all) > 1 }

// add compiles the rules that there are now and makes them the newest.
func (s *ruleSets) add() error {
	var b strings.Builder
	segments, triggers, _ := strings.Cut(chaosRules, "triggers:")
	b.WriteString(segments)
	for _, id := range slices.Sorted(maps.Keys(s.changing)) {
		if id != changingTrigger {
			fmt.Fprintf(&b, "  - {id: %s, objective: a, owner: b, review_by: 2099-01-01, when: '%s'}\n", id, s.changing[id])
		}
	}
	b.WriteString("triggers:" + triggers)
	if when, ok := s.changing[changingTrigger]; ok {
		fmt.Fprintf(&b, "  - {id: %s, kind: rule, when: '%s'}\n", changingTrigger, when)
	}
	set := &ruleSet{name: fmt.Sprintf("set %d", len(s.all))}
	var err error
	if set.rules, err = app.CompileRules([]rule.File{{Name: "rules.yaml", Data: []byte(b.String() + chaosMappings)}}); err != nil {
		return fmt.Errorf("%w\n%s", err, b.String())
	}
	set.reader, err = schemas.NewReader(schemas.Config{
		Layouts: set.rules.Engine.Layout, Topics: chaosStreams, Mappings: map[string][]*plan.Mapping{chaosLog: mappingsOf(set.rules)},
	})
	s.all = append(s.all, set)
	return err
}

// chaosStreams are the inputs whose records are events.
var chaosStreams = map[string]plan.Stream{"web": plan.Web, "purchase": plan.Purchase, "profile": plan.Profile}

// config returns what an instance needs of a set.
func (r *ruleSet) config(x *chaos) config.Rules {
	p := r.rules.Engine.Plan()
	return config.Rules{
		Name: r.name, Engine: r.rules.Engine, Mapped: []string{chaosLog},
		Read: func(rec *schemas.Record, ev *engine.Event) (schemas.Result, error) {
			if d := x.slow.Load(); d > 0 {
				lasts(time.Duration(d))
			}
			return r.reader.Read(rec, ev)
		},
		LookBackOf: func(of func(int) bool) map[string]engine.Millis {
			back := map[string]engine.Millis{}
			for topic, s := range chaosStreams {
				back[topic] = p.LookBackOf(s, of)
			}
			back[chaosLog] = max(back["web"], back["purchase"])
			return back
		},
	}
}

// known returns the rules of these versions, nil if there are none. Tasks ask for those
// that their partition is under, also for ones that came after the instance began.
func (x *chaos) known(_ context.Context, versions [16]byte) (*config.Rules, error) {
	x.sets.mu.Lock()
	defer x.sets.mu.Unlock()
	for _, r := range x.sets.all {
		if changelog.HashVersions(r.rules.Engine.Versions()) == versions {
			c := r.config(x)
			return &c, nil
		}
	}
	return nil, nil
}

// Rules that change, which share facts with each other and with those that do not.
const changingTrigger = changingPrefix + "trigger"

// changingForms are the conditions that they can have; S is some seconds, N a small number.
var changingForms = map[string][]string{
	"var_busy":      {`count(web, duration("Ss")) >= N`},
	"var_big":       {`sum(purchase.revenue, duration("Ss")) > N00`, `max(purchase.revenue) > N0`},
	"var_country":   {`profile.country == "FR" || count(purchase) > N`, `profile.country in ["DE", "IT"]`},
	"var_pages":     {`distinct(web.name, duration("Ss")) >= N`, `count(web.name == "page_viewed") >= N`},
	"var_since":     {`since_last(purchase) >= duration("Ss") && count(purchase) >= N`},
	"var_of_others": {`in_segment("busy") && count(purchase, duration("Ss")) >= N`},
	changingTrigger: {`count(purchase, duration("Ss")) >= N`},
}

// draw gives a rule that changes a condition that it does not have.
func (x *chaos) draw(id string) {
	forms := changingForms[id]
	for before := x.sets.changing[id]; x.sets.changing[id] == before; {
		x.sets.changing[id] = strings.NewReplacer("Ss", []string{"2s", "4s", "9s", "15s"}[x.rng.IntN(4)], "N", strconv.Itoa(1+x.rng.IntN(3))).
			Replace(forms[x.rng.IntN(len(forms))])
	}
}

// changeRules adds, changes, or removes some rules and gives them to all instances.
func (x *chaos) changeRules() (string, bool) {
	x.sets.mu.Lock()
	defer x.sets.mu.Unlock()
	ids := slices.Sorted(maps.Keys(changingForms))
	var what []string
	for range 1 + x.rng.IntN(3) {
		id := ids[x.rng.IntN(len(ids))]
		if _, ok := x.sets.changing[id]; ok && x.rng.IntN(3) == 0 {
			delete(x.sets.changing, id)
			what = append(what, "without "+id)
			continue
		}
		x.draw(id)
		what = append(what, id+": "+x.sets.changing[id])
	}
	if err := x.sets.add(); err != nil {
		x.fail("%v", err)
		return "", false
	}
	set := x.sets.newest()
	for _, n := range x.nodes {
		n.mu.Lock()
		l := n.live
		n.mu.Unlock()
		if l != nil {
			c := set.config(x)
			l.owner.Change(&c)
		}
	}
	return set.name + ": " + strings.Join(what, "; "), true
}

// changeRulesTwice gives the instances other rules while they go over to some.
func (x *chaos) changeRulesTwice() (string, bool) {
	first, ok := x.changeRules()
	if !ok {
		return "", false
	}
	lasts(time.Duration(x.rng.Int64N(int64(100 * time.Millisecond))))
	second, ok := x.changeRules()
	return first + ", and " + second, ok
}

// changeRulesInRebalance changes rules while an instance dies, or leaves its group.
func (x *chaos) changeRulesInRebalance() (string, bool) {
	var who string
	var ok bool
	if x.rng.IntN(2) == 0 {
		who, ok = x.scaleIn()
	} else {
		who, ok = x.crash(x.rng.IntN(2) == 0)
	}
	if !ok {
		return "", false
	}
	lasts(time.Duration(x.rng.Int64N(int64(time.Second))))
	what, ok := x.changeRules()
	return who + " goes, " + what, ok
}

// changePoints are the points of a change of rules: before its facts are complete, when they
// are, and when all customers are brought over and not all of that is committed.
var changePoints = []string{"aside", "prepared", "refolded", "reemitted", "reemitted"}

// dieInChange changes rules, and lets tasks of an instance die at a point of that.
func (x *chaos) dieInChange() (string, bool) {
	l := x.pick(0)
	if l == nil {
		return "", false
	}
	defer l.n.free()
	point := changePoints[x.rng.IntN(len(changePoints))]
	times := new(atomic.Int32)
	times.Store(1 + x.rng.Int32N(3))
	l.dropsDisk.Store(x.rng.IntN(2) == 0)
	l.points.Store(point, times)
	what, ok := x.changeRules()
	return l.clientID + " " + point + ", " + what, ok
}

// underNewest reports whether all tasks are under the newest rules.
func (x *chaos) underNewest(tasks map[int32]task.Status) bool {
	for _, t := range tasks {
		if t.Rules != x.sets.newest().name || t.Change != "" {
			return false
		}
	}
	return true
}
