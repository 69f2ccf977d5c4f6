package demo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmill/segmill/consumer"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
)

// view shows what the engine finds: on a terminal a picture that is redrawn, else
// lines.
type view struct {
	opt   Options
	shop  *shop
	start time.Time
	owner atomic.Pointer[consumer.Owner]

	mu       sync.Mutex
	members  map[string]int // by segment
	fired    map[string]int // by trigger
	changes  int
	triggers int
	news     []string // the latest effects, the newest last
	told     map[string]int
}

// kept is how many effects are remembered to be shown.
const kept = 200

func newView(opt Options, s *shop) *view {
	v := &view{opt: opt, shop: s, start: time.Now(), members: map[string]int{}, fired: map[string]int{}, told: map[string]int{}}
	spec := opt.Rules.Set.Spec
	for _, seg := range spec.Segments {
		v.members[seg.ID] = 0
	}
	for _, l := range spec.Lifecycles {
		for _, st := range l.Stages {
			v.members[l.ID+"/"+st.ID] = 0
		}
	}
	for _, t := range spec.Triggers {
		v.fired[t.ID] = 0
	}
	return v
}

// effects takes in what a task has committed.
func (v *view) effects(_ int32, l []engine.Effect) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range l {
		e := &l[i]
		switch e.Action {
		case engine.Entered:
			v.members[e.Name]++
			v.changes++
		case engine.Exited:
			v.members[e.Name]--
			v.changes++
		case engine.Fired:
			v.fired[e.Name]++
			v.triggers++
		}
		v.told[e.Name]++
		v.news = append(v.news, newsLine(e))
	}
	if n := len(v.news) - kept; n > 0 {
		v.news = slices.Delete(v.news, 0, n)
	}
}

// newsLine tells an effect in one line.
func newsLine(e *engine.Effect) string {
	at := e.At.Time().Format("2006-01-02 15:04")
	switch {
	case e.Action == engine.Entered && e.From != "":
		return fmt.Sprintf("%s  %-8s moved    %s -> %s", at, e.Customer, e.From, e.Name)
	case e.Action == engine.Entered, e.Action == engine.Exited:
		return fmt.Sprintf("%s  %-8s %-8s %s (%s)", at, e.Customer, e.Action, e.Name, e.Cause)
	}
	return fmt.Sprintf("%s  %-8s %-8s %s: %s", at, e.Customer, e.Action, e.Name, payload(e))
}

func payload(e *engine.Effect) string {
	switch e.Kind {
	case plan.AbandonedCart:
		return fmt.Sprintf("%d products left, %s %s", len(e.Items), e.Value, e.Currency)
	case plan.Inactivity:
		return fmt.Sprintf("silent for %d days", e.Silent)
	case plan.Anniversary:
		return fmt.Sprintf("%d years since %s", e.Years, e.Date)
	}
	var parts []string
	for _, p := range e.Context {
		parts = append(parts, p.Name+" "+p.Value)
	}
	return strings.Join(parts, ", ")
}

// run draws until ctx ends.
func (v *view) run(ctx context.Context) error {
	every := time.Second
	if v.opt.Terminal {
		every = 200 * time.Millisecond
		fmt.Fprint(v.opt.Out, "\x1b[?1049h\x1b[?25l") // another screen, no cursor
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		v.draw()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (v *view) draw() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.opt.Terminal {
		fmt.Fprint(v.opt.Out, v.picture())
		return
	}
	fmt.Fprintln(v.opt.Out, v.status())
	show := v.news
	if len(show) > linesASecond {
		show = show[len(show)-linesASecond:]
	}
	for _, l := range show {
		fmt.Fprintln(v.opt.Out, "  "+l)
	}
	v.news = v.news[:0]
}

// linesASecond is how many effects are printed a second where there is no
// terminal.
const linesASecond = 5

// status is the line of figures.
func (v *view) status() string {
	published, at, present := v.shop.progress()
	where := "replaying the past"
	if present {
		where = "live"
	}
	line := fmt.Sprintf("%s  %s  %d events", at.Time().Format("2006-01-02 15:04"), where, published)
	if o := v.owner.Load(); o != nil {
		st := o.Status()
		line += fmt.Sprintf(", %.0f a second, lag %d", st.EventsPerSecond, st.Lag)
	}
	return line + fmt.Sprintf("  %d changes, %d triggers", v.changes, v.triggers)
}

const barWidth = 24

// picture draws segments on the left, triggers under them, and news at the
// bottom, in the height that there is.
func (v *view) picture() string {
	var b strings.Builder
	line := func(format string, args ...any) {
		s := fmt.Sprintf(format, args...)
		if r := []rune(s); v.opt.Width > 0 && len(r) > v.opt.Width {
			s = string(r[:v.opt.Width])
		}
		b.WriteString(s + "\x1b[K\r\n")
	}
	b.WriteString("\x1b[H")
	line("segmill demo: an embedded broker, a shop of %d customers and the engine, live", v.opt.Customers)
	line("%s", v.status())
	line("")
	rows := 3
	most := 1
	for _, n := range v.members {
		most = max(most, n)
	}
	room := max(4, v.opt.Height-9-len(v.fired))
	ids := slices.Sorted(maps.Keys(v.members))
	if len(ids) > room {
		ids = ids[:room]
	}
	line("%-28s %7s", "SEGMENT", "MEMBERS")
	for _, id := range ids {
		n := v.members[id]
		line("%-28s %7d  %s", id, n, strings.Repeat("█", n*barWidth/most))
	}
	line("")
	line("%-28s %7s", "TRIGGER", "FIRED")
	for _, id := range slices.Sorted(maps.Keys(v.fired)) {
		line("%-28s %7d", id, v.fired[id])
	}
	line("")
	rows += len(ids) + len(v.fired) + 4
	news := v.news
	if n := max(0, v.opt.Height-rows-2); len(news) > n {
		news = news[len(news)-n:]
	}
	for _, l := range news {
		line("%s", l)
	}
	b.WriteString("\x1b[J\x1b[7m Ctrl-C ends the demo \x1b[0m")
	return b.String()
}

// finish leaves the picture and prints what it came to.
func (v *view) finish() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.opt.Terminal {
		fmt.Fprint(v.opt.Out, "\x1b[?25h\x1b[?1049l")
	}
	published, at, _ := v.shop.progress()
	fmt.Fprintf(v.opt.Out, "\n%d events of %d customers up to %s, in %s: %d membership changes, %d triggers\n",
		published, v.opt.Customers, at.Time().Format("2006-01-02 15:04"), time.Since(v.start).Round(time.Second), v.changes, v.triggers)
	for _, id := range slices.Sorted(maps.Keys(v.members)) {
		fmt.Fprintf(v.opt.Out, "  %-28s %6d members\n", id, v.members[id])
	}
	for _, id := range slices.Sorted(maps.Keys(v.fired)) {
		fmt.Fprintf(v.opt.Out, "  %-28s %6d fired\n", id, v.fired[id])
	}
}
