package engine

import (
	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// sampleScratch is what is given to Cell.Fold.
type sampleScratch struct {
	aggregate.Sample
	lines []aggregate.Line
}

// ownStamp stands for every stream of one's own in the stamps of summaries: they are kept,
// and the numbers of such streams depend on the rule set. A summary that compares stamps
// is of one stream, or of built-in ones.
const ownStamp = 0xff

func stampOf(s plan.Stream) uint8 {
	if s >= plan.NumBuiltin {
		return ownStamp
	}
	return uint8(s)
}

// foldMatched gives the event to the summaries in x.matched.
func (e *Engine) foldMatched(x *Evaluator, ev *Event) {
	s := &x.sample
	s.Stamp = aggregate.Stamp{At: ev.At, ID: ev.ID, Source: ev.Source, Stream: stampOf(ev.Stream)}
	for i := range x.matched {
		m := &x.matched[i]
		if m.cell.other == nil {
			x.insert(m, ev)
			continue
		}
		if r, ok := m.cell.other.(*aggregate.Register); ok {
			x.register(r, m, ev)
			continue
		}
		s.Value, s.Num = expr.Value{}, 0
		if m.Slot >= 0 {
			s.Value = ev.Fields[m.Slot]
			s.Num, _ = aggregate.Scaled(s.Value)
		}
		s.Cart, s.Clear, s.Replace, s.Lines = "", false, false, nil
		switch {
		case m.Cart:
			x.cart(ev)
		case m.neg:
			s.Num = -s.Num
		}
		d, ok := m.cell.other.(*aggregate.Distinct)
		was := ok && d.Coarse()
		if m.cell.other.Fold(&s.Sample); ok && !was && d.Coarse() {
			x.out.Stats.Coarsened++
		}
		if m.Cart {
			x.out.Stats.Unmatched += s.Unmatched
		}
	}
}

// insert gives the event to a list.
func (x *Evaluator) insert(m *match, ev *Event) {
	n := int64(0)
	if m.Slot >= 0 {
		n, _ = aggregate.Scaled(ev.Fields[m.Slot])
	}
	if m.neg {
		n = -n
	}
	l := &m.cell.list
	was := l.Coarse()
	m.num = n
	m.in = l.Insert(aggregate.Entry{At: ev.At, Num: n})
	m.exact = !was && !l.Coarse()
	if !was && !m.exact {
		x.out.Stats.Coarsened++
	}
}

// register gives the event to a register. Source and value are mostly the same few
// texts.
func (x *Evaluator) register(r *aggregate.Register, m *match, ev *Event) {
	var v expr.Value
	if m.Slot >= 0 {
		v = ev.Fields[m.Slot]
	}
	if v.K == expr.String {
		v.S = x.texts.of(v.S)
	}
	if s := &x.sample.Stamp; s.Source != x.source {
		x.source = x.texts.of(s.Source)
	}
	x.sample.Source = x.source
	r.Take(&x.sample.Stamp, &v)
}

// cart reads what an event is to the customer's carts. One whose items are absent, since
// none of them could be read, is a change of which it is not known what it was.
func (x *Evaluator) cart(ev *Event) {
	at, s := x.e.p.Streams[ev.Stream].Layout.Cart, &x.sample
	if at.ID >= 0 {
		s.Cart = ev.Fields[at.ID].S
	}
	if at.Items < 0 {
		s.Clear = true
		return
	}
	if items := &ev.Fields[at.Items]; items.Present() {
		name := ev.Fields[at.Name].S
		s.Replace = name == plan.CartUpdated
		x.lines(ev, at, name == plan.CartRemoved)
	}
}

// maxQuantity bounds the pieces of one line.
const maxQuantity = 1 << 31

// lines reads the cart lines of an event. An addition or a removal without items is about
// one piece of a product without a name.
func (x *Evaluator) lines(ev *Event, at *plan.CartSlots, removal bool) {
	items, currency, s := ev.Fields[at.Items].L, ev.Fields[at.Currency].S, &x.sample
	s.lines = s.lines[:0]
	for _, it := range items {
		if len(it.L) != at.Size {
			continue
		}
		line := aggregate.Line{Product: it.L[at.Product].S, Quantity: aggregate.Unit, Price: it.L[at.Price], Currency: currency}
		line.Variant, line.SKU = textAt(it.L, at.Variant), textAt(it.L, at.SKU)
		if q := it.L[at.Quantity]; q.K == expr.Int {
			line.Quantity = max(-maxQuantity, min(q.N, maxQuantity)) * aggregate.Unit
		}
		if at.Amount >= 0 && it.L[at.Amount].Present() {
			line.Quantity = max(-maxQuantity*aggregate.Unit, min(it.L[at.Amount].N, maxQuantity*aggregate.Unit))
		}
		if removal {
			line.Quantity = -max(line.Quantity, -line.Quantity)
		}
		if line.Quantity != 0 {
			s.lines = append(s.lines, line)
		}
	}
	if len(items) == 0 && !s.Replace {
		one := aggregate.Line{Quantity: aggregate.Unit, Currency: currency}
		if removal {
			one.Quantity = -aggregate.Unit
		}
		s.lines = append(s.lines, one)
	}
	s.Lines = s.lines
}

// textAt returns the text at a place of a record, "" if the record has no such place.
func textAt(record []expr.Value, i int) string {
	if i < 0 {
		return ""
	}
	return record[i].S
}
