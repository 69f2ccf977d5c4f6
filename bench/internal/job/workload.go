// Package job is the workload that all sides of a benchmark do: a seeded stream of
// purchase events, its bytes, the ten rules over it, and the changes that come out.
package job

import (
	"fmt"
	"math/rand/v2"
)

// Workload is a deterministic stream of purchase events: the same fields give the
// same bytes.
type Workload struct {
	Events    int     // how many
	Customers int     // how many there are
	Zipf      float64 // exponent of the law that customers follow; 0 is uniform
	Late      float64 // share of events that come late, 0 to 1
	Mixed     bool    // a third each of purchases, web and email events
	Format    Format  // how events are written
	EachOnce  bool    // event i is of customer i; it needs as many customers as events
	Seed      uint64
	// From is the time of the first event and Length how long they go on, in ms; both
	// 0: from Start for Span.
	From, Length int64
}

// Times of the workload, in ms.
const (
	Day     = 86_400_000
	Start   = 1_767_225_600_000 // 2026-01-01T00:00:00Z
	Span    = 40 * Day          // from the first event to the end
	End     = Start + Span      // no event is later
	Grace   = 2_000             // of the engine's clock
	maxLate = 2 * 3_600_000
)

// Event is one event.
type Event struct {
	N        int   // unique, 0 and up
	Customer int   // below Workload.Customers
	At       int64 // ms since 1970
	Revenue  int64 // in 1/10000 of the currency
	Channel  uint8 // index in Channels
	Currency uint8 // index in Currencies
	Product  int
	Stream   Stream
}

// Channels and Currencies are the categories, most frequent first. No workload has the
// channel Flow.
var (
	Channels   = [...]string{"web", "app", "store", "flow"}
	Currencies = [...]string{"EUR", "USD", "GBP"}
)

// Flow is the index of a channel that lab.Flow uses.
const Flow = 3

// share is how many of 100 events have each channel and each currency.
var (
	channelShare  = [...]int{91, 5, 4}
	currencyShare = [...]int{96, 3, 1}
)

// Generator draws the events of a workload in the order of arrival.
type Generator struct {
	w    Workload
	rnd  *rand.Rand
	zipf *rand.Zipf
	n    int
}

// NewGenerator returns a generator at the first event.
func NewGenerator(w Workload) *Generator {
	if w.From == 0 && w.Length == 0 {
		w.From, w.Length = Start, Span
	}
	g := &Generator{w: w, rnd: rand.New(rand.NewPCG(w.Seed, 0x5e97))}
	if w.Zipf > 0 {
		g.zipf = rand.NewZipf(g.rnd, w.Zipf, 1, uint64(w.Customers-1))
	}
	return g
}

// Next fills e with the next event; false at the end.
func (g *Generator) Next(e *Event) bool {
	if g.n == g.w.Events {
		return false
	}
	e.N = g.n
	e.At = g.w.From + int64(float64(g.n)*float64(g.w.Length)/float64(g.w.Events))
	g.n++
	switch {
	case g.w.EachOnce:
		e.Customer = e.N
	case g.zipf != nil:
		e.Customer = int(g.zipf.Uint64())
	default:
		e.Customer = g.rnd.IntN(g.w.Customers)
	}
	if g.w.Late > 0 && g.rnd.Float64() < g.w.Late {
		e.At = max(g.w.From, e.At-Grace-1-g.rnd.Int64N(maxLate-Grace))
	}
	e.Revenue = (500 + g.rnd.Int64N(9_500)) * 100 // 5 to 100
	e.Channel = pick(g.rnd, channelShare[:])
	e.Currency = pick(g.rnd, currencyShare[:])
	e.Product = g.rnd.IntN(5_000)
	if e.Stream = Purchase; g.w.Mixed {
		e.Stream = Stream(g.rnd.IntN(int(numStreams)))
	}
	return true
}

// pick draws an index by shares of 100.
func pick(rnd *rand.Rand, shares []int) uint8 {
	x := rnd.IntN(100)
	for i, s := range shares {
		if x -= s; x < 0 {
			return uint8(i)
		}
	}
	return 0
}

// Name says what kind of workload it is, such as "zipf1.05-late0.01".
func (w Workload) Name() string {
	name := "uniform"
	if w.Zipf > 0 {
		name = fmt.Sprintf("zipf%g", w.Zipf)
	}
	if w.Late > 0 {
		return name + fmt.Sprintf("-late%g", w.Late)
	}
	return name + "-inorder"
}
