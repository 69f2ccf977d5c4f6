package sim

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/segmill/segmill/engine"
)

// eachSeed runs a property on random input: for SIM_TIME (a duration, default
// 3s), or once on SEED, which a failure prints.
func eachSeed(t *testing.T, f func(t *testing.T, r *rand.Rand)) {
	t.Helper()
	run := func(seed uint64) bool {
		return t.Run(fmt.Sprintf("SEED=%d", seed), func(t *testing.T) { f(t, rand.New(rand.NewPCG(seed, 0))) })
	}
	if s := os.Getenv("SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("SEED=%s: %v", s, err)
		}
		run(seed)
		return
	}
	limit := 3 * time.Second
	if testing.Short() {
		limit /= 10
	}
	if s := os.Getenv("SIM_TIME"); s != "" {
		var err error
		if limit, err = time.ParseDuration(s); err != nil {
			t.Fatalf("SIM_TIME=%s: %v", s, err)
		}
	}
	n := 0
	for start := time.Now(); time.Since(start) < limit; n++ {
		if !run(rand.Uint64N(1 << 40)) {
			break
		}
	}
	t.Logf("%d seeds", n)
}

// ledger checks effects of any number of customers as a reader would: sequences
// count up, entered and exited take turns, no instant is before the last, no two effects
// of erasures have one id.
type ledger struct {
	last map[string]engine.Effect // by customer and name
	at   map[string]Millis        // by customer
	ids  map[string]bool          // of what erasures have caused
}

func (l *ledger) add(effects []engine.Effect) error {
	if l.last == nil {
		l.last, l.at, l.ids = map[string]engine.Effect{}, map[string]Millis{}, map[string]bool{}
	}
	for i := range effects {
		e := &effects[i]
		if at, ok := l.at[e.Customer]; ok && e.At < at {
			return fmt.Errorf("%v after an effect at %s", e, at)
		}
		l.at[e.Customer] = e.At
		if e.Cause == engine.CauseErasure {
			id := e.ID("")
			if l.ids[id] {
				return fmt.Errorf("%v: its id %s is that of another", e, id)
			}
			l.ids[id] = true
		}
		if e.Action == engine.Erased { // seen again, the customer is a new one
			delete(l.at, e.Customer)
			for k := range l.last {
				if l.last[k].Customer == e.Customer {
					delete(l.last, k)
				}
			}
			continue
		}
		key := fmt.Sprint(e.Customer, " ", e.Action == engine.Fired, " ", e.Name)
		if e.Sequence != l.last[key].Sequence+1 {
			return fmt.Errorf("%v: sequence after %d", e, l.last[key].Sequence)
		}
		if e.Action != engine.Fired && (e.Action == engine.Entered) != (e.Sequence%2 == 1) {
			return fmt.Errorf("%v: odd must be entered, even exited", e)
		}
		l.last[key] = *e
	}
	return nil
}
