package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// Do is what a Call does.
type Do uint8

// The calls. Each has a customer and the instant of the task clock, which never
// goes back.
const (
	DoApply   Do = iota // fold Record
	DoAdvance           // fire what is due up to Clock
	DoErase             // forget the customer, as of Record.At
)

// Call is one call on an engine or an oracle.
type Call struct {
	Do       Do
	Customer string
	Clock    Millis
	Record   Record
}

// String returns c on one line.
func (c *Call) String() string {
	switch c.Do {
	case DoApply:
		return fmt.Sprintf("apply   clock=%s %s", c.Clock, &c.Record)
	case DoErase:
		return fmt.Sprintf("erase   clock=%s at=%s %s", c.Clock, c.Record.At, c.Customer)
	default: // the others need nothing here
	}
	return fmt.Sprintf("advance clock=%s %s", c.Clock, c.Customer)
}

// Zones resolves the names of time zones from Go's database.
func Zones(name string) (*time.Location, bool) {
	if name == "" || name == "Local" {
		return nil, false
	}
	zone, err := time.LoadLocation(name)
	return zone, err == nil
}

// starts are instants at which histories begin: before changes of the clocks in
// several parts of the world, before a 29 February, and an ordinary one.
var starts = []string{
	"2024-02-27T20:00:00Z", "2024-03-30T10:00:00Z", "2024-10-26T12:00:00Z", "2025-03-08T12:00:00Z",
	"2025-04-24T12:00:00Z", "2025-02-27T08:00:00Z", "2026-01-01T00:00:00Z",
}

// zoneNames are the zones that customers live in; the last does not exist.
var zoneNames = []string{
	"Europe/Paris", "America/New_York", "Asia/Tokyo", "Pacific/Kiritimati", "America/Sao_Paulo",
	"Australia/Lord_Howe", "Africa/Cairo", "Asia/Beirut", "America/Havana", "Mars/Olympus",
}

// history makes random calls that are likely to meet the edges of one rule set.
type history struct {
	r      *rand.Rand
	delays []Millis // lengths of time that the rules speak of
	sent   []Record
	cursor Millis // the latest event time so far
	clock  Millis
	serial int
	calls  []Call
	people []string
	line   lineItem
	oracle *Oracle // knows the events, to be asked when something can change
	// streams is what happens, as often as it is listed.
	streams []plan.Stream
	support plan.Stream // the declared one, if the rules declare it
}

// RandomHistory makes n calls, and a few more at the end in which time passes
// with no event.
func RandomHistory(r *rand.Rand, s *plan.Spec, n int) []Call {
	start, err := time.Parse(time.RFC3339, pick(r, starts...))
	if err != nil {
		panic(err)
	}
	h := &history{r: r, delays: delaysOf(s), cursor: Millis(start.UnixMilli()), line: lineItemOf(s)}
	h.oracle = NewOracle(s, engine.Options{Zones: Zones})
	h.clock = h.cursor
	h.streams = []plan.Stream{plan.Web, plan.Web, plan.Web, plan.Email, plan.Email, plan.Purchase, plan.Purchase, plan.Profile, plan.Consent}
	if s, ok := s.Streams().ByName(support); ok {
		h.support = s
		h.streams = append(h.streams, s, s)
	}
	if chance(r, 30) { // one stream is most of what happens
		h.streams = append(h.streams, slices.Repeat([]plan.Stream{pick(r, h.streams...)}, 12)...)
	}
	for i := range pick(r, 1, 1, 2, 3) {
		h.people = append(h.people, fmt.Sprintf("c%d", i+1))
	}
	for len(h.calls) < n {
		switch k := r.IntN(100); {
		case k < 75:
			h.apply()
		case k < 99:
			h.turn()
		default:
			at := pick(r, h.clock, h.cursor, h.cursor+h.gap(), h.clock-h.gap())
			h.add(Call{Do: DoErase, Customer: pick(r, h.people...), Record: Record{At: at, ID: fmt.Sprintf("t%d", len(h.calls))}})
		}
	}
	for range 4 {
		h.clock = max(h.clock, h.cursor) + h.gap() + Millis(r.IntN(40))*Day
		h.turnAll()
	}
	return h.calls
}

// delaysOf returns the lengths of time after an event at which rules can change.
func delaysOf(s *plan.Spec) []Millis {
	o := &Oracle{spec: s, units: unitsOf(s)}
	l := append(o.delays(), 24*Hour)
	for i := range s.Inputs {
		if s.Inputs[i].Kind == plan.InSince {
			for _, v := range o.constants(i) {
				l = append(l, Millis(v.N))
			}
		}
	}
	slices.Sort(l)
	return slices.Compact(l)
}

func (h *history) add(c Call) {
	c.Clock = h.clock
	h.calls = append(h.calls, c)
}

// gap returns a random length of time, of any order of magnitude.
func (h *history) gap() Millis {
	switch h.r.IntN(12) {
	case 0:
		return 0
	case 1:
		return 1
	case 2, 3:
		return Millis(h.r.IntN(int(10 * Minute)))
	case 4, 5, 6:
		return Millis(h.r.IntN(int(5 * Hour)))
	case 7, 8:
		return Millis(h.r.IntN(int(2 * Day)))
	case 9:
		return Millis(h.r.IntN(int(20 * Day)))
	case 10:
		return Millis(h.r.IntN(int(60 * Day)))
	}
	return pick(h.r, h.delays...)
}

// edge returns an instant at or a millisecond from one at which a rule can
// change because of an earlier event.
func (h *history) edge() Millis {
	if len(h.sent) == 0 {
		return h.cursor
	}
	if chance(h.r, 40) {
		p := h.oracle.person(pick(h.r, h.people...))
		p.instant = h.cursor - Day
		if l := h.oracle.candidates(p, h.cursor+100*Day); len(l) > 0 {
			return pick(h.r, l[:min(len(l), 20)]...) + Millis(h.r.IntN(3)-1)
		}
	}
	recent := h.sent[max(0, len(h.sent)-8):]
	return pick(h.r, recent...).At + pick(h.r, h.delays...) + Millis(h.r.IntN(3)-1)
}

// apply adds an event: a new one or one sent again.
func (h *history) apply() {
	if len(h.sent) > 0 && chance(h.r, 8) {
		r := h.sent[len(h.sent)-1-h.r.IntN(min(len(h.sent), pick(h.r, 10, 100)))]
		r.Lag = h.lag()
		h.tick(r.At)
		h.add(Call{Do: DoApply, Customer: r.Customer, Record: r})
		return
	}
	at := h.cursor + h.gap()
	switch k := h.r.IntN(100); {
	case k < 25:
		at = h.edge()
	case k < 40:
		at = h.cursor - h.gap()
	}
	at = min(at, h.cursor+100*Day)
	h.cursor = max(h.cursor, at)
	h.tick(at)
	r := h.record(at)
	h.sent = append(h.sent, r)
	p := h.oracle.person(r.Customer)
	p.events = append(p.events, r)
	h.add(Call{Do: DoApply, Customer: r.Customer, Record: r})
}

// tick moves the clock before an event at an instant is folded. Sometimes the
// timers that this makes due fire first, as in a task, sometimes they do not.
func (h *history) tick(at Millis) {
	switch h.r.IntN(6) {
	case 0, 1:
		h.clock = max(h.clock, at-2*Second)
	case 2:
		h.clock = max(h.clock, at)
	case 3:
		h.clock = max(h.clock, at+h.gap())
	case 4:
		h.clock = max(h.clock, min(h.edge(), h.cursor+Day))
	}
	if chance(h.r, 30) {
		h.turnAll()
	}
}

// turn lets time pass.
func (h *history) turn() {
	to := h.clock + h.gap()
	if chance(h.r, 50) {
		to = h.edge()
	}
	h.clock = max(h.clock, min(to, h.cursor+50*Day))
	h.turnAll()
}

func (h *history) turnAll() {
	for _, c := range h.people {
		h.add(Call{Do: DoAdvance, Customer: c})
	}
}

// record makes an event of a random stream.
func (h *history) record(at Millis) Record {
	h.serial++
	r := Record{
		Stream:   pick(h.r, h.streams...),
		Customer: pick(h.r, h.people...),
		ID:       fmt.Sprintf("%c%d", 'a'+h.r.IntN(26), h.serial),
		Source:   pick(h.r, "/unknown", "/unknown", "/shop"),
		At:       at,
		Lag:      h.lag(),
	}
	f := map[string]expr.Value{}
	switch r.Stream {
	case plan.Web:
		h.web(f)
	case plan.Email:
		word(h.r, f, "action", 100, emailActions)
		word(h.r, f, "campaign_id", 100, campaigns)
		f["machine_open"] = expr.BoolValue(chance(h.r, 30))
	case plan.Purchase:
		word(h.r, f, "kind", 100, []string{"completed", "completed", "completed", "completed", "refunded", "cancelled", "unknown"})
		f["order_id"], f["currency"] = expr.StringValue("o"+r.ID), expr.StringValue("EUR")
		f["revenue"] = h.amount()
		if chance(h.r, 50) {
			f["total"] = h.amount()
		}
		word(h.r, f, "channel", 60, channels)
		word(h.r, f, "cart_id", 40, carts)
	case plan.Profile:
		h.profile(f, at)
	case plan.Consent:
		word(h.r, f, "channel", 100, []string{"email", "sms"})
		word(h.r, f, "purpose", 100, []string{"marketing", "marketing", "analytics"})
		word(h.r, f, "state", 100, []string{"granted", "granted", "denied", "withdrawn"})
	default: // the others need nothing here
	}
	if h.support != 0 {
		h.own(f, r.Stream, at)
	}
	r.Fields = f
	return r
}

// lag returns how much later than its time a record comes into Kafka.
func (h *history) lag() Millis {
	if chance(h.r, 50) {
		return 0
	}
	return h.gap()
}

// word sets a field to one of the words, or leaves it out.
func word(r *rand.Rand, f map[string]expr.Value, path string, percent int, words []string) {
	if chance(r, percent) {
		f[path] = expr.StringValue(pick(r, words...))
	}
}

// amount returns money, now and then with more digits than a cent has.
func (h *history) amount() expr.Value {
	return expr.DecimalValue(pick(h.r, 500_000, 1_000_000, 999_900, 250_000, 1_234_567, 0, int64(h.r.IntN(2_000_000))))
}

func (h *history) web(f map[string]expr.Value) {
	word(h.r, f, "name", 100, webNames)
	word(h.r, f, "session_id", 80, sessions)
	word(h.r, f, "utm_source", 40, utmSources)
	word(h.r, f, "attributes.plan", 40, plans)
	if chance(h.r, 50) {
		f["value"] = h.amount()
	}
	if chance(h.r, 60) {
		f["hits"] = expr.IntValue(int64(h.r.IntN(7) - 3))
		f["score"] = expr.DoubleValue(float64(h.r.IntN(4000)-2000) / pick(h.r, 8.0, 10, 1000))
	}
	word(h.r, f, "cart_id", 30, carts)
	word(h.r, f, "currency", 50, []string{"EUR", "EUR", "EUR", "USD"})
	var items []expr.Value
	for range h.r.IntN(3) {
		items = append(items, h.item())
	}
	if !chance(h.r, 5) { // else none could be read
		f["items"] = expr.ListValue(items)
	}
}

// carts are the ids of carts, fewer than a customer may have.
var carts = []string{"k1", "k2", "k3"}

// item returns a line of a cart, which may be of a variant, known by its stock unit, in
// fractions, negative or without a price.
func (h *history) item() expr.Value {
	at, l := h.line, make([]expr.Value, h.line.size)
	l[at.product] = expr.StringValue(pick(h.r, "p1", "p2", "p3"))
	l[at.quantity] = expr.IntValue(pick(h.r, int64(1), 1, 1, 2, 3, 0, -1))
	if chance(h.r, 70) {
		l[at.price] = expr.DecimalValue(pick(h.r, int64(100_000), 125_000, 199_999, 1))
	}
	if chance(h.r, 40) {
		l[at.variant] = expr.StringValue(pick(h.r, "v1", "v2"))
	}
	if chance(h.r, 30) {
		l[at.sku] = expr.StringValue(pick(h.r, "s1", "s2", "p1"))
	}
	if chance(h.r, 15) {
		l[at.amount] = expr.DecimalValue(pick(h.r, int64(15_000), 5_000, 1, -5_000, 20_000))
	}
	return expr.RecordValue(l)
}

// profile sets some attributes and clears others.
func (h *history) profile(f map[string]expr.Value, at Millis) {
	word(h.r, f, "country", 40, append(countries, ""))
	word(h.r, f, "traits.tier", 40, append(tiers, ""))
	word(h.r, f, "time_zone", 50, append(zoneNames, ""))
	year, month, day := at.Time().Date()
	if chance(h.r, 40) {
		born := civil{year - pick(h.r, 18, 30, 31, 40), int(month), day + h.r.IntN(9) - 4}
		if chance(h.r, 35) {
			born = civil{2000 - 4*h.r.IntN(3), 2, 29}
		}
		if chance(h.r, 25) { // still ahead, or hardly past
			born = civil{year, int(month), day + h.r.IntN(90) - 30}
		}
		f["birth_date"] = expr.DateValue(born.days())
	}
	if chance(h.r, 40) {
		signed := time.Date(year-h.r.IntN(3), month, day-h.r.IntN(20), h.r.IntN(24), 0, 0, 0, time.UTC)
		if f["signed_up_at"] = expr.TimeValue(min(at, Millis(signed.UnixMilli()))); chance(h.r, 25) {
			f["signed_up_at"] = expr.TimeValue(at + h.gap())
		}
	}
	for _, path := range []string{"birth_date", "signed_up_at"} {
		if chance(h.r, 10) {
			f[path] = expr.StringValue("") // cleared
		}
	}
}
