package preview

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/group"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/rig"
	"github.com/segmill/segmill/state"
)

// shop is a rig, the application that runs on it, and previews of it.
type shop struct{ *rig.Rig }

// running is an instance of the application.
type running struct {
	owner *group.Owner
	store *state.Store
	end   context.CancelFunc
	done  chan error
}

// start runs an instance on files.
func (g *shop) start(rules string, files vfs.FS, change func(*config.Config)) *running {
	g.Helper()
	in := &running{store: g.Store(files), done: make(chan error, 1)}
	cfg := g.config(rules, in.store, change)
	var err error
	if in.owner, err = group.New(cfg); err != nil {
		g.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	in.end = end
	g.Cleanup(end)
	go func() { in.done <- in.owner.Run(ctx) }()
	return in
}

// config is that of an instance or of a preview.
func (g *shop) config(rules string, store *state.Store, change func(*config.Config)) config.Config {
	cfg := g.Config(rules, store)
	cfg.LookBackOf = func(of func(int) bool) map[string]engine.Millis {
		back := map[string]engine.Millis{}
		for _, s := range []plan.Stream{plan.Web, plan.Purchase, plan.Profile} {
			back[s.String()] = cfg.Engine.Plan().LookBackOf(s, of)
		}
		return back
	}
	if change != nil {
		change(&cfg)
	}
	return cfg
}

// ready waits until an instance has brought its rules in.
func (g *shop) ready(in *running) {
	g.Helper()
	g.Eventually("ready", func() bool {
		st := in.owner.Status()
		return st.Ready && len(st.Tasks) == int(g.Partitions)
	})
}

// stop ends an instance; wait waits for the end of a run over history.
func (g *shop) stop(in *running) {
	g.Helper()
	in.end()
	g.wait(in)
}

func (g *shop) wait(in *running) {
	g.Helper()
	if err := <-in.done; err != nil {
		g.Error(err)
	}
	if err := in.store.Close(); err != nil {
		g.Error(err)
	}
}

// preview makes a preview, and checks that it leaves no trace: topics end where they did, and
// nobody has joined a group.
func (g *shop) preview(rules string, o Options, change func(*config.Config)) (*Report, error) {
	g.Helper()
	was := g.trace()
	files := vfs.NewMem()
	store := g.Store(files)
	cfg := g.config(rules, store, change)
	cfg.Encoder = nil // it has nothing to write
	r, err := Run(context.Background(), cfg, o)
	if is := g.trace(); is != was {
		g.Errorf("a preview left a trace:\n%s\nwas\n%s", is, was)
	}
	for p := range g.Partitions {
		for _, t := range []*state.Task{store.Task(p), store.Scratch(p)} {
			if empty, eerr := t.Empty(); err == nil && (eerr != nil || !empty) {
				g.Errorf("partition %d is left in the store: %v", p, eerr)
			}
		}
	}
	if cerr := store.Close(); cerr != nil {
		g.Error(cerr)
	}
	return r, err
}

// trace is where all topics end, and who is in which group.
func (g *shop) trace() string {
	g.Helper()
	ctx, admin := context.Background(), kadm.NewClient(g.Client)
	ends, err := admin.ListEndOffsets(ctx)
	if err != nil {
		g.Fatal(err)
	}
	groups, err := admin.DescribeGroups(ctx)
	if err != nil {
		g.Fatal(err)
	}
	var l []string
	ends.Each(func(o kadm.ListedOffset) { l = append(l, fmt.Sprintf("%s/%d %d", o.Topic, o.Partition, o.Offset)) })
	for _, one := range groups.Sorted() {
		var members []string
		for _, m := range one.Members {
			members = append(members, m.MemberID)
		}
		slices.Sort(members)
		l = append(l, fmt.Sprintf("%s %s %v", one.Group, one.State, members))
	}
	slices.Sort(l)
	return strings.Join(l, "\n")
}

// emitted is what has come out since the topics of effects had so many records.
type emitted struct {
	entered, exited map[string]int // because of the rules, by segment
	due             Due
}

func (g *shop) count(before map[string]int) emitted {
	g.Helper()
	n := emitted{entered: map[string]int{}, exited: map[string]int{}}
	for p, l := range g.Effects("changes") {
		for _, e := range l[before[fmt.Sprint("changes", p)]:] {
			switch {
			case e.Cause != "rule_change":
				n.due.Changes++
			case e.Action == "renamed":
			case e.Action == "entered":
				n.entered[e.Segment]++
			default:
				n.exited[e.Segment]++
			}
		}
	}
	for p, l := range g.Effects("triggers") {
		n.due.Firings += len(l[before[fmt.Sprint("triggers", p)]:])
	}
	return n
}

// said returns how many effects there are, for count.
func (g *shop) said() map[string]int {
	g.Helper()
	n := map[string]int{}
	for _, topic := range []string{"changes", "triggers"} {
		for p, l := range g.Effects(topic) {
			n[fmt.Sprint(topic, p)] = len(l)
		}
	}
	return n
}

// sizes are the members of each segment, as a reader of the changes knows them.
func (g *shop) sizes() map[string]int {
	g.Helper()
	n := map[string]int{}
	for _, m := range g.Members() {
		_, id, _ := strings.Cut(m, " ")
		n[id]++
	}
	return n
}

// rulesOf returns a rule file of segments, "id: condition", and triggers, lines of YAML.
func rulesOf(segments, triggers []string) string {
	var b strings.Builder
	b.WriteString("version: 1\ndefaults: {timezone: UTC}\nsegments:\n")
	for _, s := range segments {
		id, when, _ := strings.Cut(s, ": ")
		fmt.Fprintf(&b, "  - {id: %s, objective: a, owner: b, review_by: 2099-01-01, when: %q}\n", id, when)
	}
	if len(triggers) > 0 {
		b.WriteString("triggers:\n  - " + strings.Join(triggers, "\n  - ") + "\n")
	}
	return b.String()
}

// anyRules returns random rules, of which some are common to most sets.
func anyRules(r *rand.Rand) string {
	all := map[string][]string{
		"buyer":    {"count(purchase) >= 1", "count(purchase) >= 5"},
		"frequent": {"count(purchase, days(2)) >= 3", "count(purchase, days(4)) >= 3", "count(purchase, days(2)) >= 2"},
		"browsing": {"did(web, hours(3))", "did(web, days(30))"},
		"big":      {"sum(purchase.revenue, days(5)) > 300", "sum(purchase.revenue) > 900"},
		"reader":   {"count(web) >= 10", "count(web, days(60)) >= 10"},
		"best":     {`in_segment("buyer") && count(web) >= 12`, `in_segment("buyer")`},
	}
	segments := []string{}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if id == "buyer" || r.IntN(4) > 0 {
			segments = append(segments, id+": "+all[id][r.IntN(len(all[id]))])
		}
	}
	triggers := [][]string{nil, {"{id: cart_left, kind: abandoned_cart, after: 30m}"}, {"{id: cart_left, kind: abandoned_cart, after: 45m}", "{id: silent, kind: inactivity, after: 20d}"}}
	return rulesOf(segments, triggers[r.IntN(len(triggers))])
}

// renamed gives some of the rules other ids.
func renamed(r *rand.Rand, rules string) string {
	for _, id := range []string{"buyer", "frequent", "browsing", "cart_left"} {
		if r.IntN(3) == 0 {
			rules = strings.NewReplacer("{id: "+id+",", "{id: new_"+id+", was: "+id+",", `\"`+id+`\"`, `\"new_`+id+`\"`).Replace(rules)
		}
	}
	return rules
}

// all is a preview of everybody.
var all = Options{Sample: 1, History: true}

func segmentOf(t *testing.T, r *Report, id string) *Segment {
	t.Helper()
	for i := range r.Segments {
		if r.Segments[i].ID == id {
			return &r.Segments[i]
		}
	}
	t.Fatalf("no segment %s in %+v", id, r.Segments)
	return nil
}
