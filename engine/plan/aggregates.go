package plan

import (
	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/expr"
)

// Aggregate is a row of the table of aggregates: all that the rule compiler, the
// plan and the engine know of one. What it computes is in package aggregate.
type Aggregate struct {
	// Name is what rules call it. Two rows can share one, if one of them takes a
	// field.
	Name string
	// Takes says what it reads of an event.
	Takes Takes
	// Life is the summary that it is computed from over all time, Window that over
	// a window; nil: it takes no window.
	Life, Window *aggregate.Family
	// Op is what is computed from the summary, nil if that holds one thing only.
	Op *aggregate.Op
	// Zero: over no event it is 0. Else it is absent.
	Zero bool
	// Gives is the kind of the result; Absent: that of the field, money as a double.
	Gives expr.Kind
	// Signed: of money of purchases, what was given back is subtracted.
	Signed bool
}

// Takes says what an aggregate reads of an event.
type Takes uint8

// What aggregates read.
const (
	TakesEvents Takes = iota // that there is one
	TakesField               // a field with single values
	TakesNumber              // a field with numbers
)

var aggregates = [...]Aggregate{
	{Name: "count", Life: aggregate.FamCount, Window: aggregate.FamList, Op: aggregate.OpCount, Zero: true, Gives: expr.Int},
	{Name: "sum", Takes: TakesNumber, Life: aggregate.FamSum, Window: aggregate.FamList, Op: aggregate.OpSum, Zero: true, Signed: true},
	{Name: "avg", Takes: TakesNumber, Life: aggregate.FamSum, Window: aggregate.FamList, Op: aggregate.OpAvg, Gives: expr.Double},
	{Name: "min", Takes: TakesNumber, Life: aggregate.FamMin, Window: aggregate.FamList, Op: aggregate.OpMin},
	{Name: "max", Takes: TakesNumber, Life: aggregate.FamMax, Window: aggregate.FamList, Op: aggregate.OpMax},
	{Name: "distinct", Takes: TakesField, Life: aggregate.FamDistinct, Window: aggregate.FamRecent, Zero: true, Gives: expr.Int},
	{Name: "first", Life: aggregate.FamFirstTime, Gives: expr.Time},
	{Name: "last", Life: aggregate.FamLastTime, Gives: expr.Time},
	{Name: "first", Takes: TakesField, Life: aggregate.FamFirst},
	{Name: "last", Takes: TakesField, Life: aggregate.FamLast},
}

// Aggregates returns the rows of the table.
func Aggregates() []*Aggregate {
	l := make([]*Aggregate, len(aggregates))
	for i := range aggregates {
		l[i] = &aggregates[i]
	}
	return l
}

// AggregateOf returns the aggregate of that name that takes a field, or the one that
// takes none; nil if there is none.
func AggregateOf(name string, field bool) *Aggregate {
	for i := range aggregates {
		if a := &aggregates[i]; a.Name == name && (a.Takes != TakesEvents) == field {
			return a
		}
	}
	return nil
}

// Result returns the kind that rules see if the field's values are of a kind.
func (a *Aggregate) Result(stored expr.Kind) expr.Kind {
	switch {
	case a.Gives != expr.Absent:
		return a.Gives
	case stored == expr.Decimal:
		return expr.Double
	}
	return stored
}

// Nothing returns the value over no event, of the kind that Result gives.
func (a *Aggregate) Nothing(result expr.Kind) expr.Value {
	if a.Zero {
		return expr.Value{K: result}
	}
	return expr.Value{}
}
