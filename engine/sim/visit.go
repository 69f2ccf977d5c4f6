package sim

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// article is something that the shop sells. Prices are Decimals.
type article struct {
	id, name, category, brand string
	price                     int64
}

// articles are what the shop sells.
var articles = []article{
	{"P100", "Trail shoe", "shoes/trail", "Alta", 1_199_000}, {"P101", "Road shoe", "shoes/road", "Alta", 1_399_000},
	{"P102", "City shoe", "shoes/city", "Marlo", 899_000}, {"P200", "Rain jacket", "jackets/rain", "Norr", 1_799_000},
	{"P201", "Wind jacket", "jackets/wind", "Norr", 995_000}, {"P300", "Wool socks", "socks/wool", "Filo", 149_500},
	{"P301", "Run socks", "socks/run", "Filo", 99_900}, {"P400", "Bottle", "gear/bottles", "Clar", 189_000},
	{"P401", "Head lamp", "gear/lamps", "Clar", 450_000}, {"P402", "Pack 20 l", "gear/packs", "Norr", 799_900},
}

// line returns an article as a line of a cart or an order.
func (a article) line(quantity int64) expr.Value {
	return expr.RecordValue([]expr.Value{
		expr.StringValue(a.id), expr.StringValue(a.id + "-M"), expr.StringValue(a.name), expr.StringValue(a.category),
		expr.StringValue(a.brand), expr.IntValue(quantity), expr.DecimalValue(a.price),
	})
}

// session is one visit to the shop's site.
type session struct {
	s    *shopper
	name string
	at   Millis
	cart []article
	from map[string]expr.Value // what brought the visitor: utm_source and so on
}

// goShopping makes one visit and plans the next.
func (s *shopper) goShopping() {
	v := &session{s: s, at: s.visit, name: fmt.Sprintf("%s-v%d", s.id, s.serial), from: fields()}
	if chance(s.r, 35) {
		v.from = fields("utm_source", pick(s.r, "newsletter", "google_ads", "instagram"), "utm_medium", pick(s.r, "email", "cpc", "social"))
	}
	v.see("page_viewed", "https://shop.example/")
	for range 1 + s.r.IntN(5) {
		a := articles[skewed(s.r, len(articles))]
		v.see("product_viewed", "https://shop.example/p/"+a.id, a)
		if chance(s.r, 30) {
			v.cart = append(v.cart, a)
			v.see("product_added", "https://shop.example/p/"+a.id, a)
		}
	}
	if len(v.cart) > 1 && chance(s.r, 20) {
		a := v.cart[0]
		v.cart = v.cart[1:]
		v.see("product_removed", "https://shop.example/cart", a)
	}
	if len(v.cart) > 0 {
		v.see("cart_viewed", "https://shop.example/cart", v.cart...)
		if chance(s.r, s.buys) {
			v.see("checkout_started", "https://shop.example/checkout", v.cart...)
			v.buy()
		}
	}
	gap := s.soon(s.often)
	if v.at > s.leaves {
		gap += 300 * Day
	}
	s.visit = max(v.at, s.visit) + gap
}

// skewed returns a number below n, small ones more often.
func skewed(r *rand.Rand, n int) int { return int(float64(n) * math.Pow(r.Float64(), 2)) }

// see adds a web event a little later than the last.
func (v *session) see(name, url string, l ...article) {
	f := fields("name", name, "session_id", v.name, "url", url, "attributes.plan", v.s.plan)
	for k, x := range v.from {
		f[k] = x
	}
	var items []expr.Value
	var value int64
	for _, a := range l {
		items = append(items, a.line(1))
		value += a.price
	}
	f["items"] = expr.ListValue(items)
	if len(l) > 0 {
		f["cart_id"] = expr.StringValue("cart-" + v.s.id)
		f["value"], f["currency"] = expr.DecimalValue(value), expr.StringValue(v.s.home.currency)
	}
	v.s.add(plan.Web, v.at, f)
	v.at += v.s.soon(90 * Second)
}

// buy turns the cart into an order, which now and then comes back.
func (v *session) buy() {
	s := v.s
	at := v.at + s.soon(3*Minute)
	var revenue int64
	var items []expr.Value
	for _, a := range v.cart {
		n := 1 + int64(s.lavish*s.r.Float64())
		items = append(items, a.line(n))
		revenue += n * a.price
	}
	order := func(at Millis, kind string, revenue int64) {
		f := fields("kind", kind, "order_id", "o-"+v.name, "currency", s.home.currency, "channel", pick(s.r, "web", "web", "app"), "cart_id", "cart-"+s.id)
		f["revenue"], f["items"] = expr.DecimalValue(revenue), expr.ListValue(items)
		f["total"] = expr.DecimalValue(revenue + revenue/5)
		if chance(s.r, 10) {
			f["coupon"], f["discount"] = expr.StringValue("WELCOME10"), expr.DecimalValue(revenue/10)
		}
		s.add(plan.Purchase, at, f)
	}
	order(at, "completed", revenue)
	switch {
	case chance(s.r, 5):
		order(at+s.soon(10*Day), "refunded", revenue)
	case chance(s.r, 2):
		order(at+s.soon(2*Hour), "cancelled", revenue)
	}
	v.at = at
}
