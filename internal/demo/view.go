package demo

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmill/segmill/consumer/group"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/internal/app"
)

// view shows what the engine finds: on a terminal a picture that is redrawn, else
// lines.
type view struct {
	opt   Options
	shop  *shop
	start time.Time
	owner atomic.Pointer[group.Owner]

	mu       sync.Mutex
	members  map[string]int // by segment
	fired    map[string]int // by trigger
	changes  int
	triggers int
	news     []news // the latest, the newest last
	untold   int    // news since the last lines
}

// news is one effect as it is shown.
type news struct {
	effect engine.Effect // without lists
	text   string
}

// kept is how much news is remembered to be shown.
const kept = 200

func newView(opt Options, s *shop) *view {
	v := &view{opt: opt, shop: s, start: time.Now(), members: map[string]int{}, fired: map[string]int{}}
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
		default: // the others need nothing here
		}
		v.add(e)
	}
	if n := len(v.news) - kept; n > 0 {
		v.news = slices.Delete(v.news, 0, n)
	}
}

// add adds an effect to the news. Leaving one stage of a lifecycle for another
// is one piece of news.
func (v *view) add(e *engine.Effect) {
	if e.Action == engine.Entered && e.From != "" {
		for i := len(v.news) - 1; i >= 0 && v.news[i].effect.Customer == e.Customer && v.news[i].effect.At == e.At; i-- {
			if left := &v.news[i].effect; left.Action == engine.Exited && left.Name == e.From {
				v.news = slices.Delete(v.news, i, i+1)
				v.untold--
				break
			}
		}
	}
	v.untold++
	v.news = append(v.news, news{
		effect: engine.Effect{Action: e.Action, Customer: strings.Clone(e.Customer), Name: e.Name, At: e.At, From: e.From},
		text:   newsLine(e),
	})
}

// newsLine prints an effect on one line.
func newsLine(e *engine.Effect) string {
	action, what := e.Action.String(), e.Name
	switch {
	case e.Action == engine.Fired:
		what = strings.TrimSuffix(what+": "+app.Why(e), ": ")
	case e.Action == engine.Entered && e.From != "":
		action, what = "moved", e.From+" -> "+e.Name
	default:
		what += " (" + e.Cause.String() + ")"
	}
	return fmt.Sprintf("%s  %-8s %-8s %s", e.At.Time().Format(minutes), e.Customer, action, what)
}

// minutes is how instants are shown.
const minutes = "2006-01-02 15:04"

// How often the view is brought up to date.
const (
	drawEvery = 200 * time.Millisecond
	lineEvery = time.Second
)

// run draws until ctx ends or nothing can be written any more.
func (v *view) run(ctx context.Context) error {
	every := lineEvery
	if v.opt.Size != nil {
		every = drawEvery
		if _, err := io.WriteString(v.opt.Out, "\x1b[?1049h\x1b[?25l"); err != nil { // another screen, no cursor
			return err
		}
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := v.draw(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (v *view) draw() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	var text string
	if v.opt.Size != nil {
		text = v.picture(v.opt.Size())
	} else {
		text = v.lines()
	}
	_, err := io.WriteString(v.opt.Out, text)
	return err
}

// linesASecond is how much news is printed a second where there is no terminal.
const linesASecond = 5

// lines is what happened since it was last asked: figures and the latest news.
func (v *view) lines() string {
	text := v.status() + "  " + v.counts() + "\n"
	show := v.news
	if n := min(len(show), v.untold); n < len(show) {
		show = show[len(show)-n:]
	}
	if n := len(show) - linesASecond; n > 0 {
		show = show[n:]
	}
	for _, n := range show {
		text += "  " + n.text + "\n"
	}
	if n := v.untold - len(show); n > 0 {
		text += fmt.Sprintf("  and %d more before these\n", n)
	}
	v.untold = 0
	return text
}

// status is the line of figures.
func (v *view) status() string {
	published, at, present := v.shop.progress()
	where := "fast-forward"
	if present {
		where = "live"
	}
	line := fmt.Sprintf("%s  %s  %s", at.Time().Format(minutes), where, app.Plural(int(published), "event"))
	if o := v.owner.Load(); o != nil {
		st := o.Status()
		line += fmt.Sprintf(", %.0f a second, lag %d", st.EventsPerSecond, st.Lag)
	}
	return line
}

// counts is how much was emitted.
func (v *view) counts() string {
	return app.Plural(v.changes, "change") + ", " + app.Plural(v.triggers, "trigger")
}

// finish leaves the picture and prints what it came to.
func (v *view) finish() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	text := ""
	if v.opt.Size != nil {
		text = "\x1b[?25h\x1b[?1049l"
	}
	published, at, _ := v.shop.progress()
	text += fmt.Sprintf("\n%s of %s up to %s, in %s: %s, %s\n",
		app.Plural(int(published), "event"), app.Plural(v.opt.Customers, "customer"), at.Time().Format(minutes),
		time.Since(v.start).Round(time.Second), app.Plural(v.changes, "membership change"), app.Plural(v.triggers, "trigger"))
	for _, id := range slices.Sorted(maps.Keys(v.members)) {
		text += fmt.Sprintf("  %-28s %6d members\n", id, v.members[id])
	}
	for _, id := range slices.Sorted(maps.Keys(v.fired)) {
		text += fmt.Sprintf("  %-28s %6d fired\n", id, v.fired[id])
	}
	_, err := io.WriteString(v.opt.Out, text)
	return err
}
