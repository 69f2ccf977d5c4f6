package plan

import (
	"math"

	"github.com/segmill/segmill/engine/expr"
)

// Forever is a look-back without an end.
const Forever expr.Millis = math.MaxInt64

// LookBack returns how old an event of a stream can be and still count, in ms: the
// longest window over it, Forever if something is kept of all time, 0 if no rule
// reads the stream. State that is made again from the inputs needs as much of them.
func (p *Plan) LookBack(s Stream) expr.Millis {
	return p.LookBackOf(s, func(int) bool { return true })
}

// LookBackOf is LookBack of some summaries alone, by their numbers.
func (p *Plan) LookBackOf(s Stream, of func(summary int) bool) expr.Millis {
	most := expr.Millis(0)
	for i := range p.Summaries {
		sum := &p.Summaries[i]
		if !of(i) {
			continue
		}
		for _, from := range sum.sources {
			if from.Stream != s {
				continue
			}
			if !sum.Family.Bounded() {
				return Forever
			}
			most = max(most, sum.Reach)
		}
	}
	return most
}
