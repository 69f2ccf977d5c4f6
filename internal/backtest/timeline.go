package backtest

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/segmill/segmill/engine"
)

// Every is how long the periods of a report are.
type Every uint8

// The lengths of periods. Auto is hours up to three days, days up to 400, and weeks beyond.
const (
	Auto Every = iota
	Hour
	Day
	Week
)

var everyNames = []string{"auto", "hour", "day", "week"}

// String returns the name of the length.
func (e Every) String() string { return everyNames[e] }

// ParseEvery returns the length of that name.
func ParseEvery(s string) (Every, error) {
	i := slices.Index(everyNames, s)
	if i < 0 {
		return 0, fmt.Errorf("%q: must be auto, hour, day or week", s)
	}
	return Every(i), nil
}

// The greatest numbers of periods. A report that would have more has longer periods.
const (
	autoHours  = 3 * 24
	autoDays   = 400
	maxPeriods = 2000
)

// timeline cuts local time into periods: hours, days, or weeks that begin on Monday. A
// period is known by its number since 1970, by the wall clock: where clocks are put back,
// an hour has two.
type timeline struct {
	zone  *time.Location
	every Every // not Auto
	auto  bool
	from  engine.Millis // what is before it belongs to no period

	begun       bool
	first, last int32 // the periods so far
	tallies     []*tally
}

func newTimeline(every Every, zone *time.Location, from engine.Millis) *timeline {
	l := &timeline{zone: zone, every: every, from: from}
	if every == Auto {
		l.auto, l.every = true, Hour
	}
	return l
}

// tally returns a new tally of nothing.
func (l *timeline) tally() *tally {
	t := &tally{}
	l.tallies = append(l.tallies, t)
	return t
}

// add counts what comes and what goes at an instant.
func (l *timeline) add(t *tally, at engine.Millis, up, down uint32) {
	if at < l.from {
		t.before += int(up) - int(down)
		return
	}
	l.reach(at)
	t.add(count{l.period(at), up, down})
}

// reach makes the timeline long enough for an instant, and its periods longer if there are
// too many.
func (l *timeline) reach(at engine.Millis) {
	if at < l.from {
		at = l.from
	}
	p := l.period(at)
	if !l.begun {
		l.begun, l.first, l.last = true, p, p
		if l.from > math.MinInt64 {
			l.first = l.period(l.from)
		}
	}
	l.first, l.last = min(l.first, p), max(l.last, p)
	for l.every != Week && int(l.last-l.first) >= l.most() {
		l.coarsen()
	}
}

// most is how many periods there may be.
func (l *timeline) most() int {
	switch {
	case !l.auto:
		return maxPeriods
	case l.every == Hour:
		return autoHours
	}
	return autoDays
}

// coarsen makes the periods longer.
func (l *timeline) coarsen() {
	longer := func(p int32) int32 { return floorDiv(p, hours) }
	if l.every == Day {
		longer = weekOf
	}
	l.every++
	l.first, l.last = longer(l.first), longer(l.last)
	for _, t := range l.tallies {
		old := t.list
		t.list = old[:0]
		for _, c := range old {
			c.period = longer(c.period)
			t.add(c)
		}
	}
}

// period returns the number of the period of an instant.
func (l *timeline) period(at engine.Millis) int32 {
	local := at.Time().In(l.zone)
	_, offset := local.Zone()
	hour := int32(floorDiv(local.Unix()+int64(offset), 3600))
	switch l.every {
	case Day:
		return floorDiv(hour, hours)
	case Week:
		return weekOf(floorDiv(hour, hours))
	default:
		return hour
	}
}

// hours is how many hours of the wall clock a day has.
const hours = 24

// monday is what a day since 1970 lacks to a whole number of weeks since a Monday.
const monday = 3

func weekOf(day int32) int32 { return floorDiv(day+monday, 7) }

// floorDiv divides and rounds down.
func floorDiv[N int32 | int64](a, b N) N {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// label returns when a period begins: a date, or an hour of the wall clock.
func (l *timeline) label(p int32) string {
	switch l.every {
	case Hour:
		return time.Unix(int64(p)*3600, 0).UTC().Format("2006-01-02T15:04")
	case Week:
		p = p*7 - monday
	default:
	}
	return time.Unix(int64(p)*86_400, 0).UTC().Format(time.DateOnly)
}

// labels returns when each period begins.
func (l *timeline) labels() []string {
	labels := []string{}
	if l.begun {
		for p := l.first; p <= l.last; p++ {
			labels = append(labels, l.label(p))
		}
	}
	return labels
}

// tally counts what came and went by period. It holds the periods in which something did.
type tally struct {
	before int     // what came before the first period and had not gone
	list   []count // by period
}

type count struct {
	period   int32
	up, down uint32
}

// add counts. Mostly the period is the last one.
func (t *tally) add(c count) {
	n := len(t.list)
	i := n - 1
	if n > 0 && t.list[i].period != c.period {
		i = sort.Search(n, func(i int) bool { return t.list[i].period >= c.period })
	}
	if n == 0 || i == n || t.list[i].period != c.period {
		t.list = slices.Insert(t.list, max(i, 0), c)
		return
	}
	t.list[i].up += c.up
	t.list[i].down += c.down
}

// series is a tally over all periods.
type series struct {
	Size, Up, Down []int // of each period; the size at its end
	up, down       int   // in all periods
}

func (l *timeline) series(t *tally) series {
	n := 0
	if l.begun {
		n = int(l.last-l.first) + 1
	}
	s := series{Size: make([]int, n), Up: make([]int, n), Down: make([]int, n)}
	for _, c := range t.list {
		i := c.period - l.first
		s.Up[i], s.Down[i] = int(c.up), int(c.down)
	}
	size := t.before
	for i := range n {
		size += s.Up[i] - s.Down[i]
		s.Size[i] = size
		s.up, s.down = s.up+s.Up[i], s.down+s.Down[i]
	}
	return s
}
