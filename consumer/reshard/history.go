package reshard

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/schemas"
)

// copyHistory writes what a rebuild under the new count would not find in its
// place to the repartition topic of the new application, as if it had been
// forwarded: everything in topics that the new application does not read, and, in
// those that it does, what is on another partition than its customer's new
// one. The copies are in order of time, so that a rebuild meets erasures where
// they belong.
func (r *resharding) copyHistory(ctx context.Context) error {
	first := map[broker.Partition]int64{}
	var pasts []*past
	defer func() {
		for _, p := range pasts {
			p.feed.Close()
		}
	}()
	for _, s := range r.parts {
		from, err := r.old.Cluster.Offsets(ctx, broker.Start, r.old.Inputs(s.Partition))
		if err != nil {
			return err
		}
		next := map[broker.Partition]int64{}
		for in, at := range from {
			first[in] = at
			if source, ok := s.pos.Sources[changelog.InputOf(in.Topic, in.Number, s.Partition)]; ok {
				next[in] = source.Next
				first[in] = max(at, source.First)
			}
		}
		if len(next) == 0 {
			continue // it has never run
		}
		p := &past{n: s.Partition, route: broker.NewRouter(r.done.From)}
		p.feed = feed.Past(s.FeedOptions(&s.Instance.Config), first, next)
		pasts = append(pasts, p)
		if err := p.step(ctx); err != nil {
			return err
		}
	}
	route := broker.NewRouter(r.done.To)
	out := bulk{w: r.writer}
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
	feed  *feed.Feed
	n     int32
	route broker.Router
	in    *feed.Input // its head is the next record; nil at the end
	head  *feed.Head  // the part of the record that is next
	part  int         // which it is
	at    engine.Millis
}

// step goes to the next event that was folded.
func (p *past) step(ctx context.Context) error {
	for {
		for p.part++; p.in != nil && p.part < p.in.Head.Parts(); p.part++ {
			h := p.in.Head.Part(p.part)
			if !h.Bad() && h.Result != schemas.IsSkipped && p.route.Partition(h.Ev.Customer) == p.n {
				p.head, p.at = h, max(p.at, h.At)
				return nil
			}
		}
		if p.in != nil {
			p.in.Pop()
		}
		var err error
		if p.in, err = p.feed.Following(ctx); err != nil || p.in == nil {
			return err
		}
		p.part = -1
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
func (r *resharding) copyOf(p *past, route broker.Router, first map[broker.Partition]int64) *kgo.Record {
	h := p.head
	home := route.Partition(h.Ev.Customer)
	from := h.From
	stream, ok := r.Streams[from.Topic]
	if !ok {
		return nil // that stream is no longer read
	}
	if stream == from.Topic && from.Partition%r.done.To == home && from.Offset >= first[broker.Partition{Topic: from.Topic, Number: from.Partition}] {
		return nil // it is in its place
	}
	if broker.Size(h.Rec) > r.new.MaxCopied(r.new.Config.Repartition()) {
		r.done.TooLarge++
		return nil
	}
	r.done.Records++
	from.Topic = stream
	headers := slices.DeleteFunc(slices.Clone(h.Rec.Headers), func(h kgo.RecordHeader) bool {
		return h.Key == feed.HeaderTopic || h.Key == feed.HeaderPartition || h.Key == feed.HeaderOffset || h.Key == feed.HeaderTime
	})
	value := h.Rec.Value
	if len(h.More.Texts) > 0 {
		value, headers = h.More.Texts[0].JSON, feed.MappedHeaders(&h.More.Texts[0])
	}
	return &kgo.Record{
		Topic: r.new.Config.Repartition(), Partition: home,
		Key: h.Rec.Key, Value: value, Headers: from.Headers(headers),
		Timestamp: r.new.Config.NowMillis().Time(),
	}
}
