package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// shopper is one customer of the shop: who they are, and what they will do next.
type shopper struct {
	r      *rand.Rand
	number int
	id     string
	serial int

	home     homeland
	zone     *time.Location
	joins    Millis
	leaves   Millis  // when they lose interest
	often    Millis  // mean time between visits
	buys     int     // visits in which a cart is filled that end in a purchase, percent
	reads    int     // newsletters that are opened, percent
	machine  bool    // a proxy opens every newsletter
	listens  bool    // has agreed to newsletters
	referrer string  // what brought them
	plan     string  // free or pro
	lavish   float64 // how much they spend, 1 is usual

	agenda   []Record // what happens, in order of time, known up to the next visit
	visit    Millis   // the next visit
	campaign Millis   // the next newsletter
}

// homeland is where customers live.
type homeland struct{ zone, country, language, currency string }

var homelands = []homeland{
	{"Europe/Paris", "FR", "fr-FR", "EUR"}, {"Europe/Berlin", "DE", "de-DE", "EUR"}, {"Europe/Paris", "FR", "fr-FR", "EUR"},
	{"Europe/London", "GB", "en-GB", "GBP"}, {"America/New_York", "US", "en-US", "USD"}, {"Asia/Tokyo", "JP", "ja-JP", "JPY"},
}

// newShopper makes up a customer who joins before to.
func newShopper(r *rand.Rand, number int, from, to Millis) *shopper {
	s := &shopper{
		r: r, number: number, id: fmt.Sprintf("c%06d", number), home: pick(r, homelands...),
		joins: from + Millis(r.Int64N(max(1, int64(to-from)*2/3))),
		often: Millis(float64(Day) * (2 + 30*math.Pow(r.Float64(), 2))),
		buys:  20 + r.IntN(60), reads: r.IntN(70), machine: chance(r, 20), listens: chance(r, 75),
		referrer: pick(r, "instagram", "google_ads", "referral", "newsletter", "organic"),
		plan:     pick(r, "free", "free", "pro"),
		lavish:   0.5 + r.ExpFloat64(),
	}
	if chance(r, 50) { // was there when the history begins
		s.joins = from + Millis(r.Int64N(int64(Day)))
	}
	s.leaves = to
	if chance(r, 45) {
		s.leaves = s.joins + Millis(r.ExpFloat64()*float64(90*Day))
	}
	zone, err := time.LoadLocation(s.home.zone)
	if err != nil {
		zone = time.UTC
	}
	s.zone = zone
	s.visit = s.joins
	s.campaign = s.joins
	s.joined()
	return s
}

// fill makes sure that the agenda holds the next event before an instant, and
// reports whether there is one.
func (s *shopper) fill(to Millis) bool {
	for {
		next := min(s.visit, s.campaign)
		if len(s.agenda) > 0 && s.agenda[0].At <= next {
			break
		}
		if next >= to {
			break
		}
		if s.visit <= s.campaign {
			s.goShopping()
		} else {
			s.newsletter()
		}
	}
	return len(s.agenda) > 0 && s.agenda[0].At < to
}

// add puts an event on the agenda.
func (s *shopper) add(stream plan.Stream, at Millis, f map[string]expr.Value) {
	s.serial++
	source := map[plan.Stream]string{
		plan.Web: "/shop/web", plan.Email: "/mailer", plan.Purchase: "/shop/orders", plan.Profile: "/shop/accounts", plan.Consent: "/shop/accounts",
	}[stream]
	r := Record{Stream: stream, Customer: s.id, ID: fmt.Sprintf("%s-%06d", s.id, s.serial), Source: source, At: at, Fields: f}
	i, _ := slices.BinarySearchFunc(s.agenda, r, func(a, b Record) int {
		if a.At <= b.At {
			return -1
		}
		return 1
	})
	s.agenda = slices.Insert(s.agenda, i, r)
}

// fields makes the values of an event from names and texts; empty texts are left
// out.
func fields(pairs ...string) map[string]expr.Value {
	f := map[string]expr.Value{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			f[pairs[i]] = expr.StringValue(pairs[i+1])
		}
	}
	return f
}

// joined tells who the customer is and what they agreed to.
func (s *shopper) joined() {
	f := fields("country", s.home.country, "time_zone", s.home.zone, "language", s.home.language,
		"acquisition_source", s.referrer, "traits.device", pick(s.r, "mobile", "desktop"))
	f["signed_up_at"] = expr.TimeValue(s.joins - Millis(s.r.IntN(1000))*Day*Millis(s.r.IntN(2)))
	if chance(s.r, 80) {
		age := 18 + s.r.IntN(50)
		f["birth_date"] = expr.DateValue(int64(s.joins/Day) - int64(age)*365 - int64(s.r.IntN(365)))
	}
	s.add(plan.Profile, s.joins, f)
	state := "denied"
	if s.listens {
		state = "granted"
	}
	s.add(plan.Consent, s.joins+Second, fields("channel", "email", "purpose", "marketing", "state", state, "evidence", "sign-up form 3"))
}

// newsletter sends this week's message, on Tuesday at nine in the customer's
// zone, and tells what became of it.
func (s *shopper) newsletter() {
	at := s.campaign
	day := int64(at)/int64(Day) + 1
	for (day+4)%7 != 2 { // 1970-01-01 was a Thursday
		day++
	}
	s.campaign = clockAt(day, 9*Hour, s.zone)
	if at == s.joins || !s.listens {
		return
	}
	week := fmt.Sprintf("weekly-%d", int64(at)/int64(7*Day))
	mail := func(at Millis, action string, machine bool, link string) {
		f := fields("action", action, "campaign_id", week, "message_id", week+"-"+s.id, "template_id", "weekly", "link_url", link)
		f["machine_open"] = expr.BoolValue(machine)
		s.add(plan.Email, at, f)
	}
	mail(at, "sent", false, "")
	mail(at+s.soon(20*Second), "delivered", false, "")
	if s.machine {
		mail(at+s.soon(2*Minute)+30*Second, "opened", true, "")
	}
	if at > s.leaves || !chance(s.r, s.reads) {
		return
	}
	read := at + s.soon(8*Hour) + Minute
	mail(read, "opened", false, "")
	if chance(s.r, 30) {
		mail(read+s.soon(2*Minute), "clicked", false, "https://shop.example/"+strings.ReplaceAll(week, "-", "/"))
		s.visit = min(s.visit, read+3*Minute)
	}
	if chance(s.r, 1) {
		s.listens = false
		s.add(plan.Consent, read+5*Minute, fields("channel", "email", "purpose", "marketing", "state", "withdrawn", "evidence", week))
	}
}

// soon returns a random length of time with a mean.
func (s *shopper) soon(mean Millis) Millis { return Millis(s.r.ExpFloat64()*float64(mean)) + 1 }
