package task

import (
	"context"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/consumer/imports"
	"github.com/segmill/segmill/consumer/replica"
	"github.com/segmill/segmill/consumer/retained"
	"github.com/segmill/segmill/engine"
)

// past is what a rebuild reads again: of every input of the task what it has read, and
// of mapped inputs also the partitions that other tasks read, as far as they have. What is
// forwarded is as a mapping made it at the time. A rebuild therefore reads the records
// themselves, by today's mapping, and takes forwarded ones only where the input no longer
// has them. What was imported is read with them, up to the last mark.
type past struct {
	mapped []string
	// first is where each begins, and next the end of what was read.
	first, next map[broker.Partition]int64
	// from is where reading begins: what is before was folded already.
	from map[broker.Partition]int64
	// unread are records of mapped inputs that other tasks have forwarded to this one, which
	// has yet to read them there.
	unread map[place]bool
	// readsHistory: the task reads what was imported as an input.
	readsHistory bool
	// short are the inputs that no longer reach as far back as rules look.
	short []retained.Short
}

// takes reports whether an event is to be folded. One that was imported is. A forwarded record is not if it is read
// where it came in, and one that came in elsewhere is not if it is yet to be read where it was
// forwarded to: it would count once more then.
func (p *past) takes(h *feed.Head) bool {
	unread := p.unread[place{h.From.Topic, h.From.Partition, h.From.Offset}]
	if h.Rec.Topic == h.From.Topic {
		return !unread
	}
	at := broker.Partition{Topic: h.From.Topic, Number: h.From.Partition}
	next, ok := p.next[at]
	return unread || !ok || !slices.Contains(p.mapped, at.Topic) || h.From.Offset < p.first[at] || h.From.Offset >= next
}

// historyOf finds what there is to read of what the position of a task has read, by the
// positions of all tasks, and what is missing of it for rules that look back from an instant.
// An event that another task reads meanwhile, and forwards, comes once more with the same id.
func (t *Task) historyOf(ctx context.Context, cfg *config.Config, sources map[changelog.Input]changelog.Source, at engine.Millis, lookBack map[string]engine.Millis) (*past, error) {
	read, err := t.readBy(ctx, cfg, sources)
	if err != nil {
		return nil, err
	}
	left, err := t.Instance.Cluster.Offsets(ctx, broker.Start, slices.Collect(maps.Keys(read)))
	if err != nil {
		return nil, err
	}
	p := &past{mapped: cfg.Mapped, first: map[broker.Partition]int64{}, next: map[broker.Partition]int64{}, unread: map[place]bool{}}
	if err := p.findUnread(ctx, t, cfg, sources); err != nil {
		return nil, err
	}
	for place, source := range read {
		p.first[place], p.next[place] = max(left[place], source.First), source.Next
	}
	if err := p.addHistory(ctx, t, cfg, sources); err != nil {
		return nil, err
	}
	p.from = p.first
	p.short, err = (&retained.Past{
		Config: cfg, LookBack: lookBack, At: at, Read: read, Left: left, Log: t.log,
		Imported: func(ctx context.Context) (map[string][]imports.Range, error) { return t.importedRanges(ctx, p) },
	}).Short(ctx, t.Instance.Cluster)
	return p, err
}

// readBy returns what a task has read, and of mapped inputs what the others have.
func (t *Task) readBy(ctx context.Context, cfg *config.Config, sources map[changelog.Input]changelog.Source) (map[broker.Partition]changelog.Source, error) {
	read, inputs := map[broker.Partition]changelog.Source{}, cfg.Sources()
	for in, source := range sources {
		if slices.Contains(inputs, in.Topic) && source.Next > 0 {
			read[broker.Partition{Topic: in.Topic, Number: in.Partition(t.Partition)}] = source
		}
	}
	for task := range t.Instance.Partitions {
		if task == t.Partition || len(cfg.Mapped) == 0 {
			continue
		}
		pos, err := t.positionOf(ctx, task)
		if err != nil {
			return nil, err
		}
		for in, source := range pos.Sources {
			if slices.Contains(cfg.Mapped, in.Topic) && source.Next > source.First {
				read[broker.Partition{Topic: in.Topic, Number: in.Partition(task)}] = source
			}
		}
	}
	return read, nil
}

// goOn returns what has been read since p was.
func (p *past) goOn(ctx context.Context, t *Task, cfg *config.Config, sources map[changelog.Input]changelog.Source) (*past, error) {
	read, err := t.readBy(ctx, cfg, sources)
	if err != nil {
		return nil, err
	}
	on := &past{mapped: p.mapped, first: maps.Clone(p.first), next: map[broker.Partition]int64{}, from: map[broker.Partition]int64{}, unread: p.unread}
	if err := on.findUnread(ctx, t, cfg, sources); err != nil {
		return nil, err
	}
	if err := on.goOnHistory(ctx, t, cfg, p, sources); err != nil {
		return nil, err
	}
	for place, source := range read {
		on.from[place], on.next[place] = max(source.First, p.next[place]), max(source.Next, p.next[place])
		if _, ok := on.first[place]; !ok {
			on.first[place] = source.First
		}
	}
	return on, nil
}

// findUnread adds to unread what a task that has read up to sources has yet to read of the
// repartition topic. What other tasks have read was asked before, so all that they have
// forwarded of it is there.
func (p *past) findUnread(ctx context.Context, t *Task, cfg *config.Config, sources map[changelog.Input]changelog.Source) error {
	if len(cfg.Mapped) == 0 {
		return nil
	}
	topic := cfg.Repartition()
	end, err := t.Instance.Cluster.ListOne(ctx, broker.LastStable, []string{topic}, t.Partition)
	if err != nil {
		return err
	}
	next := sources[changelog.InputOf(topic, t.Partition, t.Partition)].Next
	_, err = t.Instance.Cluster.ReadRange(ctx, topic, t.Partition, next, end[topic], func(r *kgo.Record) error {
		if o, bad := feed.OriginOf(r, cfg.IsInput); bad == nil && slices.Contains(cfg.Mapped, o.Topic) {
			p.unread[place{o.Topic, o.Partition, o.Offset}] = true
		}
		return nil
	})
	return err
}

// records returns about how many records there are to read.
func (p *past) records() (n int64) {
	for place, next := range p.next {
		n += max(0, next-p.from[place])
	}
	return n
}

// shorts says which inputs are short, for people.
func (p *past) shorts() (l []string) {
	for _, in := range p.short {
		l = append(l, in.String())
	}
	return l
}

// positionOf returns the last position that another task has committed, an empty one if it
// has none.
func (t *Task) positionOf(ctx context.Context, task int32) (*changelog.Position, error) {
	c, topic := t.Instance.Cluster, t.Instance.Config.Changelog()
	first, err := c.ListOne(ctx, broker.Start, []string{topic}, task)
	if err != nil {
		return nil, err
	}
	end, err := c.ListOne(ctx, broker.LastStable, []string{topic}, task)
	if err != nil {
		return nil, err
	}
	for back := int64(1_000); ; back *= 10 {
		from := max(first[topic], end[topic]-back)
		var last []byte
		if _, err := c.ReadRange(ctx, topic, task, from, end[topic], func(r *kgo.Record) error {
			if string(r.Key) == changelog.PositionKey {
				last = slices.Clone(r.Value)
			}
			return nil
		}); err != nil {
			return nil, err
		}
		switch {
		case last != nil:
			return changelog.DecodePosition(last)
		case from == first[topic] || back > replica.LookBack:
			return &changelog.Position{}, nil
		}
	}
}
