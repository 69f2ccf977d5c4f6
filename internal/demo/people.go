package demo

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/segmill/segmill/engine/plan"
)

// happening is an event of the shop before it is encoded.
type happening struct {
	at       time.Time
	stream   plan.Stream
	customer string
	fields   map[string]any
	// then plans what follows, with the history's random numbers, when this
	// happens; nil if nothing does.
	then func(at time.Time)
	n    int // order of planning, which decides among equal instants
}

// history makes the events of a shop in the order of time, without end. It
// depends on seed, number of customers and start alone.
type history struct {
	r       *rand.Rand
	planned planned
	n       int
	orders  int
}

type planned []*happening

func (p planned) Len() int { return len(p) }
func (p planned) Less(i, j int) bool {
	return p[i].at.Before(p[j].at) || p[i].at.Equal(p[j].at) && p[i].n < p[j].n
}
func (p planned) Swap(i, j int) { p[i], p[j] = p[j], p[i] }

// Push and Pop serve container/heap.
func (p *planned) Push(x any) { *p = append(*p, x.(*happening)) }

// Pop removes the last element.
func (p *planned) Pop() any {
	old := *p
	h := old[len(old)-1]
	*p = old[:len(old)-1]
	return h
}

// person is how one customer behaves.
type person struct {
	id       string
	every    time.Duration // mean time between visits
	buys     float64       // probability that a cart is bought
	reads    float64       // probability that an email is opened by hand
	fades    float64       // probability that a visit is the last for months
	currency string
}

const day = 24 * time.Hour

func newHistory(seed uint64, customers int, from time.Time) *history {
	h := &history{r: rand.New(rand.NewPCG(seed, 1))}
	for i := range customers {
		h.join(i, from)
	}
	return h
}

// next returns the next event.
func (h *history) next() *happening {
	for {
		e := heap.Pop(&h.planned).(*happening)
		if e.then != nil {
			e.then(e.at)
		}
		if e.fields != nil {
			return e
		}
	}
}

// plan puts an event, or with nil fields only what follows, into the future.
func (h *history) plan(at time.Time, s plan.Stream, p *person, fields map[string]any, then func(time.Time)) {
	h.n++
	e := &happening{at: at.Truncate(time.Millisecond), stream: s, customer: p.id, fields: fields, then: then, n: h.n}
	if fields != nil {
		fields["event_id"] = fmt.Sprintf("%s-%d", s, h.n)
		fields["customer_id"] = p.id
		fields["occurred_at"] = e.at
		fields["source"] = "/shop/" + s.String()
	}
	heap.Push(&h.planned, e)
}

// soon returns a time after t, on average mean later.
func (h *history) soon(t time.Time, mean time.Duration) time.Time {
	return t.Add(time.Second + time.Duration(h.r.ExpFloat64()*float64(mean)))
}

func pick[T any](h *history, l ...T) T { return l[h.r.IntN(len(l))] }

// join makes a customer: most have been there before the history starts, some
// sign up while it runs.
func (h *history) join(i int, from time.Time) {
	p := &person{
		id:    fmt.Sprintf("c%04d", i+1),
		every: time.Duration((0.6 + h.r.ExpFloat64()*5) * float64(day)),
		buys:  0.1 + 0.6*h.r.Float64(), reads: h.r.Float64(), fades: 0.06 * h.r.Float64(), currency: "EUR",
	}
	signed := from.Add(-time.Duration(h.r.Float64() * 900 * float64(day)))
	known := from.Add(time.Duration(h.r.Float64() * float64(12*time.Hour)))
	if h.r.IntN(3) == 0 {
		signed = from.Add(time.Duration(h.r.Float64() * 100 * float64(day)))
		known = signed
	}
	h.plan(known, plan.Profile, p, map[string]any{
		"signed_up_at":       signed.Truncate(time.Millisecond),
		"birth_date":         time.Date(1950+h.r.IntN(57), time.Month(1+h.r.IntN(12)), 1+h.r.IntN(28), 0, 0, 0, 0, time.UTC),
		"country":            pick(h, "FR", "FR", "FR", "BE", "LU", "DE", "US"),
		"time_zone":          pick(h, "Europe/Paris", "Europe/Paris", "Europe/Berlin", "America/New_York", "Asia/Tokyo"),
		"acquisition_source": pick(h, "instagram", "google_ads", "referral", "instagram", "newsletter"),
		"language":           pick(h, "fr", "fr-BE", "nl", "de", "en"),
		"traits":             map[string]string{"card": pick(h, "none", "none", "silver", "gold")},
	}, nil)
	h.plan(known.Add(time.Second), plan.Consent, p, map[string]any{
		"channel": "email", "state": pick(h, "granted", "granted", "granted", "denied"),
	}, nil)
	h.plan(h.soon(known, p.every/3), plan.Web, p, nil, func(t time.Time) { h.visit(p, t) })
	h.plan(h.soon(known, 3*day), plan.Email, p, nil, func(t time.Time) { h.campaign(p, t) })
}

// products are what the shop sells.
var products = []struct{ id, name, category, price string }{
	{"shoe-1", "Trail shoe", "shoes/trail", "129.00"},
	{"shoe-2", "Road shoe", "shoes/road", "149.90"},
	{"sock-1", "Wool socks", "clothes/socks", "14.90"},
	{"tee-1", "T-shirt", "clothes/shirts", "29.90"},
	{"jacket-1", "Rain jacket", "clothes/jackets", "189.00"},
	{"bottle-1", "Bottle", "gear/bottles", "12.50"},
	{"lamp-1", "Head lamp", "gear/lamps", "59.00"},
	{"watch-1", "Watch", "gear/watches", "399.00"},
}

func line(i, quantity int) map[string]any {
	p := products[i]
	return map[string]any{"product_id": p.id, "name": p.name, "category": p.category, "quantity": quantity, "price": p.price}
}

// visit browses, may fill a cart, and may buy it.
func (h *history) visit(p *person, t time.Time) {
	at := t
	web := func(name string, fields map[string]any) {
		if fields == nil {
			fields = map[string]any{}
		}
		fields["name"] = name
		h.plan(at, plan.Web, p, fields, nil)
		at = h.soon(at, 40*time.Second)
	}
	web("page_viewed", map[string]any{"url": "/"})
	var cart []map[string]any
	cents := 0
	for range 1 + h.r.IntN(4) {
		i := h.r.IntN(len(products))
		web("product_viewed", map[string]any{"url": "/p/" + products[i].id})
		if h.r.IntN(3) == 0 {
			l := line(i, 1+h.r.IntN(2))
			cart = append(cart, l)
			cents += l["quantity"].(int) * parseCents(products[i].price)
			web("product_added", map[string]any{"items": []map[string]any{l}, "currency": p.currency, "value": money(cents)})
			if h.r.IntN(6) == 0 {
				cart = cart[:len(cart)-1]
				cents -= l["quantity"].(int) * parseCents(products[i].price)
				web("product_removed", map[string]any{"items": []map[string]any{l}, "currency": p.currency, "value": money(cents)})
			}
		}
	}
	if len(cart) > 0 && h.r.Float64() < p.buys {
		web("checkout_started", nil)
		h.buy(p, at, cart, cents)
	}
	pause := p.every
	if h.r.Float64() < p.fades {
		pause = 60 * day
	}
	h.plan(h.soon(at, pause), plan.Web, p, nil, func(t time.Time) { h.visit(p, t) })
}

func (h *history) buy(p *person, at time.Time, cart []map[string]any, cents int) {
	h.orders++
	order := fmt.Sprint("o", h.orders)
	fields := map[string]any{
		"order_id": order, "revenue": money(cents), "total": money(cents + 490), "currency": p.currency,
		"channel": pick(h, "web", "web", "app"), "items": cart,
	}
	if h.r.IntN(5) == 0 {
		fields["coupon"] = "SPRING10"
	}
	h.plan(at, plan.Purchase, p, fields, nil)
	if h.r.IntN(15) == 0 {
		h.plan(h.soon(at, 6*day), plan.Purchase, p, map[string]any{
			"kind": "refunded", "order_id": order, "revenue": money(cents), "currency": p.currency,
		}, nil)
	}
}

// campaign sends an email, which a machine, the customer or nobody opens.
func (h *history) campaign(p *person, t time.Time) {
	email := func(at time.Time, action string, more map[string]any) {
		fields := map[string]any{"action": action, "campaign_id": t.Format("weekly-2006-01-02")}
		for k, v := range more {
			fields[k] = v
		}
		h.plan(at, plan.Email, p, fields, nil)
	}
	email(t, "sent", nil)
	email(t.Add(3*time.Second), "delivered", nil)
	if h.r.IntN(4) == 0 {
		email(t.Add(5*time.Second), "opened", map[string]any{"machine_open": true})
	}
	if h.r.Float64() < p.reads {
		opened := h.soon(t, 5*time.Hour)
		email(opened, "opened", nil)
		if h.r.IntN(3) == 0 {
			email(h.soon(opened, 30*time.Second), "clicked", map[string]any{"link_url": "/sale"})
		}
	}
	h.plan(h.soon(t.Add(5*day), 2*day), plan.Email, p, nil, func(t time.Time) { h.campaign(p, t) })
}

func parseCents(price string) int {
	var euros, cents int
	fmt.Sscanf(price, "%d.%d", &euros, &cents)
	return 100*euros + cents
}

func money(cents int) string { return fmt.Sprintf("%d.%02d", cents/100, cents%100) }
