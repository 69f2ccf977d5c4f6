package reshard

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/replica"
	"github.com/segmill/segmill/consumer/topics"
)

// nobody makes sure that no instance of either application is in its group.
func (r *resharding) nobody(ctx context.Context) error {
	for _, app := range []string{r.From.App, r.To.App} {
		groups, err := kadm.NewClient(r.old.Cluster.Admin).DescribeGroups(ctx, app)
		if err != nil {
			return fmt.Errorf("group %s: %w", app, err)
		}
		g := groups[app]
		if g.Err != nil && !errors.Is(g.Err, kerr.GroupIDNotFound) {
			return fmt.Errorf("group %s: %w", app, g.Err)
		}
		if n := len(g.Members); n > 0 {
			return fmt.Errorf("%d instances of %s are running, one on %s: stop them all (one that was killed counts until its session times out)",
				n, app, strings.TrimPrefix(g.Members[0].ClientHost, "/"))
		}
	}
	return nil
}

// check makes sure that the state can be moved.
func (r *resharding) check(ctx context.Context) error {
	if err := r.checkOld(ctx); err != nil {
		return err
	}
	if err := r.checkNew(ctx); err != nil {
		return err
	}
	r.move = changelog.Move{From: r.From.App, To: r.To.App, Partitions: r.done.To}
	for _, s := range r.parts {
		if s.move != nil && *s.move != r.move {
			return fmt.Errorf("the state of %s is being moved, or was moved, to %s with %d partitions: complete that move, or return the state with --undo",
				s.move.From, s.move.To, s.move.Partitions)
		}
	}
	return r.checkRead(ctx)
}

// checkOld makes sure that all partitions are complete and were emitted under the same
// rules.
func (r *resharding) checkOld(ctx context.Context) error {
	var ran *oldPart
	for _, s := range r.parts {
		switch {
		case s.pos.Seq == 0:
			continue
		case s.pos.Claim != (changelog.Claim{}):
			return fmt.Errorf("partition %d: %w", s.Partition, errNeedsTransactions)
		case s.pos.Rebuilding || ran != nil && s.pos.Rules != ran.pos.Rules:
			return fmt.Errorf("partition %d: a change of the rules of %s was not completed: complete it first with segmill run", s.Partition, r.From.App)
		}
		history := s.Instance.Config.History()
		if _, reads := s.pos.Sources[changelog.InputOf(history, s.Partition, s.Partition)]; reads {
			return fmt.Errorf("partition %d: %s has not been read to its end: let segmill run read it first", s.Partition, history)
		}
		if _, err := replica.Verify(ctx, s.Instance.Config.Store, s.Partition); err != nil {
			return fmt.Errorf("partition %d: %w: delete the state directory of the old configuration and run this again", s.Partition, err)
		}
		ran = s
	}
	if ran == nil {
		return fmt.Errorf("%s has no state: there is nothing to move", r.From.App)
	}
	return nil
}

// checkNew makes sure that the topics of the new application fit together and
// that it has no state yet.
func (r *resharding) checkNew(ctx context.Context) error {
	count, err := r.new.Topics().Count(ctx)
	if err != nil {
		return err
	}
	n := count.Tasks
	r.done.To, r.new.Partitions = n, n
	names := slices.Sorted(maps.Keys(topics.Own(&r.new.Config)))
	infos, err := r.new.Cluster.Describe(ctx, names...)
	if err != nil {
		return err
	}
	for _, name := range names {
		t := infos[name]
		if t.Err == nil && t.Partitions != n {
			return fmt.Errorf("%s has %d partitions and the new application %d: add partitions to it, or use another topic in the new configuration",
				name, t.Partitions, n)
		}
	}
	state, err := r.target(ctx)
	switch {
	case err != nil:
		return err
	case state == targetBegun:
		return fmt.Errorf("a resharding to %s was begun and not completed: delete the topics %s and %s, then run it again",
			r.To.App, r.new.Config.Changelog(), r.new.Config.Repartition())
	case state == targetComplete:
		return fmt.Errorf("%s already has state: it was moved there, or %s has run; if it has run by mistake, use another name for the new application",
			r.To.App, r.To.App)
	}
	return nil
}

// targetState is how far the new application's topics are.
type targetState int

const (
	targetEmpty targetState = iota
	targetBegun
	targetComplete
)

// target looks at the topics of the new application. They become complete all at
// once, so one partition is enough.
func (r *resharding) target(ctx context.Context) (targetState, error) {
	topic, repartition := r.new.Config.Changelog(), r.new.Config.Repartition()
	infos, err := r.new.Cluster.Describe(ctx, topic, repartition)
	if err != nil {
		return 0, err
	}
	state := targetEmpty
	for name, t := range infos {
		if errors.Is(t.Err, kerr.UnknownTopicOrPartition) {
			continue
		}
		if t.Err != nil {
			return 0, fmt.Errorf("topic %s: %w", name, t.Err)
		}
		for p := range t.Partitions {
			first, end, err := r.bounds(ctx, name, p)
			if err != nil {
				return 0, err
			}
			var closed []byte
			_, err = r.new.Cluster.ReadRange(ctx, name, p, first, end, func(rec *kgo.Record) error {
				state = max(state, targetBegun)
				switch key := string(rec.Key); {
				case name == repartition:
					return errEnough
				case changelog.IsMove(key):
					closed = rec.Value
				case key == changelog.PositionKey && closed == nil:
					state = targetComplete
					return errEnough
				}
				return nil
			})
			if err != nil && !errors.Is(err, errEnough) {
				return 0, err
			}
		}
	}
	return state, nil
}

// errEnough ends a reading early.
var errEnough = errors.New("enough is known")

func (r *resharding) bounds(ctx context.Context, topic string, p int32) (first, end int64, err error) {
	at, err := r.new.Cluster.ListOne(ctx, broker.Start, []string{topic}, p)
	if err != nil {
		return 0, 0, err
	}
	to, err := r.new.Cluster.ListOne(ctx, broker.HighWatermark, []string{topic}, p)
	return at[topic], to[topic], err
}

// checkRead makes sure that every record of the inputs and every forwarded one has
// been taken. Offsets do not say: behind the last record there may be ends of
// transactions.
func (r *resharding) checkRead(ctx context.Context) error {
	unread := map[string]int64{}
	for _, s := range r.parts {
		for _, in := range r.old.Inputs(s.Partition) {
			next, end, err := s.unread(ctx, in)
			if err != nil {
				return err
			}
			n, err := r.old.Cluster.ReadRange(ctx, in.Topic, in.Number, next, end, func(*kgo.Record) error { return nil })
			if err != nil {
				return err
			}
			if n > 0 {
				unread[in.Topic] += n
			}
		}
	}
	for _, topic := range slices.Sorted(maps.Keys(unread)) {
		if slices.Contains(r.new.Config.Inputs, topic) && r.Unread {
			continue
		}
		hint := "start the old configuration until its lag is 0, stop it, and run this again"
		if slices.Contains(r.new.Config.Inputs, topic) {
			hint += "; if it can no longer run because the topic has grown, use --unread: the facts will be right, but effects of customers that move may be emitted in another order"
		}
		return fmt.Errorf("%d records of %s are unread: %s", unread[topic], topic, hint)
	}
	r.done.Unread = unread
	return nil
}

// unread returns where an input was read up to and where it ends.
func (s *oldPart) unread(ctx context.Context, in broker.Partition) (next, end int64, err error) {
	one := []broker.Partition{in}
	first, err := s.Instance.Cluster.Offsets(ctx, broker.Start, one)
	if err != nil {
		return 0, 0, err
	}
	last, err := s.Instance.Cluster.Offsets(ctx, broker.LastStable, one)
	if err != nil {
		return 0, 0, err
	}
	return max(first[in], s.pos.Sources[changelog.InputOf(in.Topic, in.Number, s.Partition)].Next), last[in], nil
}
