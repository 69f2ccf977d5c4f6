// Package retained says which inputs no longer reach as far back as rules look. The one
// rule it keeps: of a partition from which nothing was read, or from which nothing was
// deleted since, nothing is missed; nor is what imports have.
package retained

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/imports"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
)

// Short is a partition of an input whose earliest record is younger than what rules look
// back to.
type Short struct {
	broker.Partition
	// From is the time of the earliest record that was read and is left, in Kafka;
	// engine.Never if none is.
	From engine.Millis
	// Since is the instant that rules look back to, changelog.Never if that is all time.
	Since engine.Millis
}

// String says it for people.
func (s Short) String() string {
	left, need := "has none of its records left", "for ever"
	if s.From != engine.Never {
		left = "begins on " + shown(s.From)
	}
	if s.Since != changelog.Never {
		need = "to " + shown(s.Since)
	}
	return fmt.Sprintf("%v %s, and rules look back %s", s.Partition, left, need)
}

func shown(at engine.Millis) string { return at.Time().UTC().Format(time.RFC3339) }

// Past is what was read of the inputs.
type Past struct {
	Config   *config.Config
	LookBack map[string]engine.Millis // how far rules look back, by input
	At       engine.Millis            // from when they do
	Read     map[broker.Partition]changelog.Source
	Left     map[broker.Partition]int64 // the offset of the earliest record that a partition still has
	// Imported returns what imports have of each input. It is asked if an input is short.
	Imported func(context.Context) (map[string][]imports.Range, error)
	Log      *slog.Logger // hears of what imports stand for
}

// Short returns the partitions that are short, sorted, but for those whose gap imports fill.
// Where reading began behind records
// that had been deleted before, nobody knows that any more: such a partition counts as
// one that has lost them.
func (p *Past) Short(ctx context.Context, c *broker.Cluster) ([]Short, error) {
	since := map[broker.Partition]engine.Millis{}
	for place, source := range p.Read {
		if back := p.lookBack(place.Topic); back > 0 && source.Seen != changelog.Never && p.Left[place] > source.First {
			since[place] = before(p.At, back, p.Config.Time.MaxFutureSkew)
		}
	}
	places := slices.SortedFunc(maps.Keys(since), broker.Partition.Compare)
	if len(places) == 0 {
		return nil, nil
	}
	dated, err := c.ListAll(ctx, broker.Dated, places)
	if err != nil {
		return nil, err
	}
	var l []Short
	for _, place := range places {
		s := Short{Partition: place, From: engine.Never, Since: since[place]}
		if d := dated[place]; d.Offset >= 0 && d.Offset < p.Read[place].Next {
			s.From = engine.Millis(d.Time)
		}
		if s.From > s.Since {
			l = append(l, s)
		}
	}
	return p.without(ctx, l)
}

// without leaves out what imports fill.
func (p *Past) without(ctx context.Context, l []Short) ([]Short, error) {
	if len(l) == 0 || p.Imported == nil {
		return l, nil
	}
	ranges, err := p.Imported(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(l, func(s Short) bool {
		to := s.From
		if to == engine.Never {
			to = p.Read[s.Partition].Seen
		}
		from, ok := fills(ranges[s.Topic], to, s.Since)
		if ok {
			p.Log.Info("an import stands for records that have been deleted", "topic", s.Topic, "of_partition", s.Number, "from", from, "to", to)
		}
		return ok
	}), nil
}

// fills reports whether imports have what was before an instant, and from when on: from one to
// the next without a gap, and back to since. For rules that look back for ever they have what
// there was: nobody knows of anything earlier.
func fills(ranges []imports.Range, to, since engine.Millis) (from engine.Millis, ok bool) {
	for from = to; ; {
		earlier := from
		for _, r := range ranges {
			if r.Records > 0 && r.Last >= from {
				earlier = min(earlier, r.First)
			}
		}
		if earlier == from {
			return from, from < to && (since == changelog.Never || from <= since)
		}
		from = earlier
	}
}

// lookBack returns how far back rules look in a topic. What was forwarded is of any input.
func (p *Past) lookBack(topic string) engine.Millis {
	if topic != p.Config.Repartition() {
		return p.LookBack[topic]
	}
	most := engine.Millis(0)
	for _, back := range p.LookBack {
		most = max(most, back)
	}
	return most
}

// before returns the instant before which no record can have come that counts: an event
// can be dated later than it came, by the skew.
func before(at, back engine.Millis, skew time.Duration) engine.Millis {
	if back == plan.Forever || at == changelog.Never {
		return changelog.Never
	}
	return at - back - engine.Millis(skew.Milliseconds())
}
