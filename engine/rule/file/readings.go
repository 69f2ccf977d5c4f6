package file

import (
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v4"

	"github.com/segmill/segmill/engine/expr"
)

// Readings are what files say of how all records are read, once for all files.
type Readings struct {
	Dedup    []Dedup
	earliest *Passage
	Earliest expr.Millis // 0: not said
}

// Dedup says for how long the ids of a stream are remembered.
type Dedup struct {
	Stream, Text *Passage
	For          expr.Millis
}

// Bounds of dedup: what is shorter is shorter than producers take to send an event again,
// and each id takes 12 bytes of its customer.
const (
	leastDedup = time.Hour
	mostDedup  = 90 * 24 * time.Hour
)

// readings reads the section of that name.
func (r *reader) readings(n *yaml.Node) {
	s, ok := r.section(n, "readings", words{known: []string{"dedup", "min_event_time"}, later: []string{"rates"}})
	if !ok {
		return
	}
	if d := s.vals["dedup"]; d != nil {
		if streams, ok := r.section(d, "dedup", words{any: true}); ok {
			for _, name := range streams.order {
				r.dedup(name, r.scalar(streams, name.Text))
			}
		}
	}
	p := r.scalar(s, "min_event_time")
	if p == nil {
		return
	}
	day, err := time.Parse(time.DateOnly, p.Text)
	switch prev := r.doc.Readings.earliest; {
	case err != nil:
		r.FailHint(p, "write a date such as 1990-01-01", "%s is not a date", strconv.Quote(p.Text))
	case prev != nil && prev.Text != p.Text:
		r.Fail(p, "min_event_time is %s here and %s in %s", p.Text, prev.Text, Where(prev))
	default:
		r.doc.Readings.earliest, r.doc.Readings.Earliest = p, expr.MillisOf(day)
	}
}

// dedup reads for how long the ids of a stream are remembered.
func (r *reader) dedup(stream, p *Passage) {
	if p == nil {
		return
	}
	d, err := model.ParseDuration(p.Text)
	if err != nil || time.Duration(d) < leastDedup || time.Duration(d) > mostDedup {
		r.FailHint(p, "write a time from 1h to 90d, such as 3d", "%s is not for how long event ids can be remembered", strconv.Quote(p.Text))
		return
	}
	l := r.doc.Readings.Dedup
	i := slices.IndexFunc(l, func(o Dedup) bool { return o.Stream.Text == stream.Text })
	if i >= 0 && l[i].Text.Text != p.Text {
		r.Fail(p, "the dedup of %s is %s here and %s in %s", stream.Text, p.Text, l[i].Text.Text, Where(l[i].Text))
		return
	}
	r.doc.Readings.Dedup = append(l, Dedup{stream, p, expr.Millis(time.Duration(d).Milliseconds())})
}
