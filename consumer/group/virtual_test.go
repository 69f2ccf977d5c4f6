package group

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/sim"
)

// longRules are things that only time makes happen, within a day or after 30.
const longRules = `
version: 1
defaults: {timezone: UTC}
segments:
  - {id: today, objective: a, owner: b, review_by: 2099-01-01, when: "did(web, hours(20))"}
  - {id: week, objective: a, owner: b, review_by: 2099-01-01, when: "did(web, days(7))"}
triggers:
  - {id: cart_left, kind: abandoned_cart, after: 30m}
  - {id: silent, kind: inactivity, after: 30d}
  - {id: birthday, kind: anniversary, date: profile.birth_date, at: "02:30", feb_29: %s}
`

// timer is an effect that time has brought about, or an entry before it.
type timer struct {
	what string // with its instant and sequence
	at   engine.Millis
}

// Customers come on one day; then nobody does anything for a month in which
// clocks change and, in common years, a 29 February is missing. The engine runs in
// virtual time against a broker in the process; its wall clock goes on by an hour
// at a time. At each hour nothing was emitted early, and everything due was emitted; at
// the end everything was emitted that the oracle emits, once, in its order.
func TestThirtyDays(t *testing.T) {
	for _, c := range []struct {
		name, start, feb29 string
		customers          int
	}{
		// Clocks go forward on 14 March in America, on 28 March in Europe.
		{"spring", "2027-02-26", "feb_28", 2_500},
		{"spring of a leap year", "2028-02-27", "mar_1", 200},
		{"spring, 1 March", "2027-02-26", "mar_1", 200},
		// Clocks go back on 25 October in Europe, on 1 November in America.
		{"autumn", "2026-10-03", "feb_28", 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, err := time.Parse(time.DateOnly, c.start)
				if err != nil {
					t.Fatal(err)
				}
				seed := fixture.Seeds(t, 1)[0]
				t.Logf("SEED=%d", seed)
				thirtyDays(t, rand.New(rand.NewPCG(seed, 0)), start, c.customers, fmt.Sprintf(longRules, c.feb29))
			})
		})
	}
}

func thirtyDays(t *testing.T, rng *rand.Rand, start time.Time, customers int, text string) {
	var net kfake.VirtualNetwork
	g := newFleetOn(t, 2, []kfake.Opt{kfake.ListenFn(net.Listen), kfake.Ports(9092)}, kgo.Dialer(net.DialContext))
	set := func(now time.Time) { g.Shift.Store(int64(time.Until(now))) }
	set(start)
	end := start.Add(32 * 24 * time.Hour)
	records, want := g.newcomers(rng, start, customers, text, end)
	total := 0
	var at []engine.Millis // of all that is to be emitted
	for _, l := range want {
		total += len(l)
		for _, e := range l {
			at = append(at, e.at)
		}
	}
	slices.Sort(at)

	var mu sync.Mutex
	emitted := 0
	in := g.start(text, vfs.NewMem(), func(c *config.Config) {
		c.Time.MaxFutureSkew = 2 * time.Hour // an hour's events are read at its beginning
		c.OnEffects = func(_ int32, effects []engine.Effect) {
			mu.Lock()
			defer mu.Unlock()
			emitted += len(effects)
			now := expr.MillisOf(g.Now())
			for i := range effects {
				// On the first day a customer's own events are ahead of the clock.
				if e := &effects[i]; e.At > now && e.At > expr.MillisOf(start.Add(25*time.Hour)) {
					t.Errorf("at %v: emitted early: %v", now, e)
				}
			}
		}
	})
	in.ready()
	for now := start; now.Before(end); {
		hour := now.Add(time.Hour)
		n := 0
		for n < len(records) && records[n].Timestamp.Before(hour) {
			n++
		}
		g.Produce(records[:n]...)
		records = records[n:]
		in.caughtUp()
		now = hour
		set(now)
		in.follows(now)
		due, _ := slices.BinarySearch(at, expr.MillisOf(now)+1)
		g.Eventually(fmt.Sprintf("emitted at %v what is due", now), func() bool {
			mu.Lock()
			defer mu.Unlock()
			return emitted >= due
		})
	}
	in.stop()
	got := map[string]string{}
	for c, l := range want {
		var lines []string
		for _, e := range l {
			lines = append(lines, e.what)
		}
		got[c] = strings.Join(lines, "\n")
	}
	if diff := gocmp.Diff(got, g.emissions()); diff != "" {
		t.Errorf("(-oracle +engine)\n%.4000s", diff)
	}
	timers := total - 2*customers // entries are emitted by events
	t.Logf("%d timers", timers)
	if timers < 3*customers {
		t.Errorf("only %d timers", timers)
	}
	g.Positions()
}

// newcomers returns the events of customers that come on the first day, in order
// of time, and what the oracle emits for each until an end.
func (g *fleet) newcomers(rng *rand.Rand, start time.Time, n int, text string, end time.Time) ([]*kgo.Record, map[string][]timer) {
	zones := []string{"Europe/Paris", "America/New_York", "America/Los_Angeles", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"}
	spec := fixture.NewEngine(g, text).Plan().Spec
	oracle := sim.NewOracle(spec, engine.Options{Zones: sim.Zones})
	var records []*kgo.Record
	want := map[string][]timer{}
	for i := range n {
		id := fmt.Sprintf("c%d", i)
		come := afterTheHour(start.Add(time.Duration(rng.IntN(86_000_000)) * time.Millisecond))
		visit := afterTheHour(come.Add(time.Duration(1+rng.IntN(300_000)) * time.Millisecond))
		birth := start.AddDate(-20-rng.IntN(50), 0, 1+rng.IntN(30))
		if rng.IntN(3) == 0 {
			birth = time.Date(1940+4*rng.IntN(15), 2, 29, 0, 0, 0, 0, time.UTC)
		}
		zone, name := zones[rng.IntN(len(zones))], "page_viewed"
		if rng.IntN(2) == 0 {
			name = "product_added"
		}
		profile := g.Event(plan.Profile, id, come, map[string]any{"birth_date": birth, "time_zone": zone})
		profileID := fmt.Sprint("e", g.Seq)
		web := g.Event(plan.Web, id, visit, map[string]any{"name": name})
		records = append(records, profile, web)
		var emitted []engine.Effect
		days := birth.Unix() / 86_400
		for _, r := range []sim.Record{
			{Stream: plan.Profile, ID: profileID, At: expr.MillisOf(come), Fields: map[string]expr.Value{
				"birth_date": expr.DateValue(days), "time_zone": expr.StringValue(zone),
			}},
			{Stream: plan.Web, ID: fmt.Sprint("e", g.Seq), At: expr.MillisOf(visit), Fields: map[string]expr.Value{"name": expr.StringValue(name), "items": expr.ListValue(nil)}},
		} {
			r.Customer = id
			l, _ := oracle.Apply(r, r.At)
			emitted = append(emitted, l...)
		}
		for _, e := range append(emitted, oracle.Advance(id, expr.MillisOf(end))...) {
			want[id] = append(want[id], timer{telling(e.Action.String(), e.Name, int(e.Sequence), e.At.Time()), e.At})
		}
		// The outputs are two topics.
		slices.SortStableFunc(want[id], func(a, b timer) int {
			return strings.Compare(fmt.Sprint(strings.HasPrefix(a.what, "fired")), fmt.Sprint(strings.HasPrefix(b.what, "fired")))
		})
	}
	slices.SortFunc(records, func(a, b *kgo.Record) int { return a.Timestamp.Compare(b.Timestamp) })
	return records, want
}

// afterTheHour moves an event out of the first minute of an hour. An hour's events
// are written when the engine's clock has reached the hour, and it goes on while
// they are: an event of its first instants may be late, and what it changes is then
// dated by the clock.
func afterTheHour(at time.Time) time.Time {
	if at.Sub(at.Truncate(time.Hour)) < time.Minute {
		return at.Add(time.Minute)
	}
	return at
}

func telling(action, name string, sequence int, at time.Time) string {
	return fmt.Sprintf("%s %s #%d at %s", action, name, sequence, at.UTC().Format(time.RFC3339Nano))
}

// emissions returns the effects of every customer: changes, then triggers.
func (g *fleet) emissions() map[string]string {
	g.Helper()
	got := map[string][]string{}
	for _, topic := range []string{"changes", "triggers"} {
		for _, effects := range g.Effects(topic) {
			for _, e := range effects {
				line := telling(e.Action, e.Segment, e.Sequence, e.At)
				if topic == "triggers" {
					line = telling("fired", e.Name, e.Sequence, e.Fired)
					if !e.Fired.Equal(e.Due) {
						g.Errorf("%v was due at %v", e, e.Due)
					}
				}
				got[e.Customer] = append(got[e.Customer], line)
			}
		}
	}
	emitted := map[string]string{}
	for c, l := range got {
		emitted[c] = strings.Join(l, "\n")
	}
	return emitted
}
