package retained

import (
	"testing"
	"time"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
)

// What people read of a partition that is short.
func TestShortInWords(t *testing.T) {
	at := engine.Millis(1_700_000_000_000)
	place := broker.Partition{Topic: "web", Number: 3}
	for want, s := range map[string]Short{
		"web/3 begins on 2023-11-14T22:13:20Z, and rules look back to 2023-11-14T22:13:19Z": {place, at, at - 1000},
		"web/3 begins on 2023-11-14T22:13:20Z, and rules look back for ever":                {place, at, changelog.Never},
		"web/3 has none of its records left, and rules look back for ever":                  {place, engine.Never, changelog.Never},
	} {
		if got := s.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// How far back rules look: in what was forwarded as far as in any input, and by the skew
// further than a window, since an event can be dated later than it came.
func TestHowFarBack(t *testing.T) {
	cfg := config.Default()
	cfg.App = "shop"
	past := Past{Config: &cfg, LookBack: map[string]engine.Millis{"web": 5_000, "purchase": 70_000}}
	for topic, want := range map[string]engine.Millis{"web": 5_000, "profile": 0, cfg.Repartition(): 70_000} {
		if got := past.lookBack(topic); got != want {
			t.Errorf("%s: %v, want %v", topic, int64(got), int64(want))
		}
	}
	for _, c := range []struct{ at, back, want engine.Millis }{
		{100_000, 70_000, 28_000}, {100_000, plan.Forever, changelog.Never}, {changelog.Never, 70_000, changelog.Never},
	} {
		if got := before(c.at, c.back, 2*time.Second); got != c.want {
			t.Errorf("%d before %d: %d, want %d", c.back, c.at, got, c.want)
		}
	}
}
