package consumer

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/engine"
)

// copyHistory writes what a rebuild under the new count would not find in its
// place to the repartition topic of the new application, as if it had been
// forwarded: everything in topics that the new application does not read, and, in
// those that it does, what is on another partition than its customer's new
// one. The copies are in order of time, so that a rebuild meets erasures where
// they belong.
func (r *resharding) copyHistory(ctx context.Context) error {
	first := map[string]map[int32]int64{}
	var pasts []*past
	defer func() {
		for _, p := range pasts {
			p.close()
		}
	}()
	for _, s := range r.sessions {
		from, err := r.old.cluster.ListOne(ctx, broker.Start, r.old.cfg.Sources(), s.t.n)
		if err != nil {
			return err
		}
		next := map[string]int64{}
		for topic, at := range from {
			if first[topic] == nil {
				first[topic] = map[int32]int64{}
			}
			first[topic][s.t.n] = at
			if source, ok := s.pos.Sources[topic]; ok {
				next[topic] = source.Next
			}
		}
		if len(next) == 0 {
			continue // it has never run
		}
		p := &past{}
		pasts = append(pasts, p)
		if p.session, err = s.t.past(s.route, from, next); err != nil {
			return err
		}
		if err := p.step(ctx); err != nil {
			return err
		}
	}
	route := broker.NewRouter(r.done.To)
	out := bulk{s: r.writer}
	for {
		p := earliest(pasts)
		if p == nil {
			return out.flush(ctx)
		}
		if rec := r.copyOf(p, route, first); rec != nil {
			if err := out.add(ctx, rec); err != nil {
				return err
			}
		}
		if err := p.step(ctx); err != nil {
			return err
		}
	}
}

// past is what one old partition has taken, record by record.
type past struct {
	*session
	in *input // its head is the next record; nil at the end
	at engine.Millis
}

// step goes to the next record that was folded.
func (p *past) step(ctx context.Context) error {
	for {
		if p.in != nil {
			p.in.pop()
		}
		var err error
		if p.in, err = p.following(ctx); err != nil || p.in == nil {
			return err
		}
		if h := &p.in.head; !h.bad() && p.route.Partition(h.ev.Customer) == p.t.n {
			p.at = max(p.at, h.at)
			return nil
		}
	}
}

// earliest returns the past with the earliest record, nil if all have ended.
func earliest(pasts []*past) *past {
	var best *past
	for _, p := range pasts {
		if p.in != nil && (best == nil || p.at < best.at) {
			best = p
		}
	}
	return best
}

// copyOf returns the copy of the next record of a past, nil if none is needed. first
// says where the old topics begin.
func (r *resharding) copyOf(p *past, route broker.Router, first map[string]map[int32]int64) *kgo.Record {
	h := &p.in.head
	home := route.Partition(h.ev.Customer)
	from := h.from
	stream, ok := r.Streams[from.topic]
	if !ok {
		return nil // that stream is no longer read
	}
	if stream == from.topic && from.partition == home && from.offset >= first[from.topic][from.partition] {
		return nil // it is in its place
	}
	if broker.Size(h.rec) > r.new.maxCopied(r.new.cfg.Repartition()) {
		r.done.TooLarge++
		return nil
	}
	r.done.Records++
	from.topic = stream
	headers := slices.DeleteFunc(slices.Clone(h.rec.Headers), func(h kgo.RecordHeader) bool {
		return h.Key == headerTopic || h.Key == headerPartition || h.Key == headerOffset || h.Key == headerTime
	})
	return &kgo.Record{
		Topic: r.new.cfg.Repartition(), Partition: home,
		Key: h.rec.Key, Value: h.rec.Value, Headers: from.headers(headers),
		Timestamp: r.new.cfg.NowMillis().Time(),
	}
}
