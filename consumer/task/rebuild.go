package task

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/state"
)

// ReadVersions reads the versions that belong to a position.
func ReadVersions(b []byte) (*changelog.Versions, error) {
	v, err := changelog.DecodeVersions(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", fault.ErrLocal, err)
	}
	return v, nil
}

// checkRules compares the rules under which effects were emitted with those of
// the engine, and rebuilds if they differ and that is allowed.
func (s *session) checkRules(ctx context.Context) error {
	s.rules = s.pos.Rules
	want := s.cfg.Engine.Versions()
	same := changelog.HashVersions(want) == s.pos.Rules
	if same && !s.pos.Rebuilding {
		return nil
	}
	if !same && !s.cfg.Rebuild {
		return fault.Fatal("the rules are not those that the state was built with (%s): with --rebuild the state is made again from the inputs, and the differences are emitted",
			difference(s.before.Hashes, want))
	}
	return s.rebuild(ctx, want)
}

// difference names what was changed, added and removed.
func difference(before, after map[string]string) string {
	var changed, added, removed []string
	for _, id := range slices.Sorted(maps.Keys(after)) {
		switch hash, ok := before[id]; {
		case !ok:
			added = append(added, id)
		case hash != after[id]:
			changed = append(changed, id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(before)) {
		if _, ok := after[id]; !ok {
			removed = append(removed, id)
		}
	}
	var parts []string
	for _, p := range []struct {
		word string
		ids  []string
	}{{"changed", changed}, {"added", added}, {"removed", removed}} {
		if len(p.ids) > 0 {
			parts = append(parts, p.word+": "+some(p.ids))
		}
	}
	if len(parts) == 0 {
		return "an earlier rebuild was not completed"
	}
	return strings.Join(parts, "; ")
}

// some lists ids, the first few if there are many.
func some(ids []string) string {
	const most = 8
	if len(ids) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(ids[:most], ", "), len(ids)-most)
	}
	return strings.Join(ids, ", ")
}

// rebuild makes the facts of every customer again from the inputs as far as they
// were read, gives them to the customers, and emits the differences.
//
// It takes many transactions, and may die between any two. The first one says
// that a rebuild is in progress, and under which rule sets effects may have been
// emitted; every one leaves each customer either as it was or rebuilt; the last one
// says that it is complete. What dies in the middle is done again from the
// beginning: a customer that was rebuilt is then given the same facts at the same
// clock, which emits nothing and writes nothing. No input is read before the end,
// so the facts and the offsets fit together throughout.
func (s *session) rebuild(ctx context.Context, want map[string]string) error {
	s.t.set(func(st *Status) { st.State = Rebuilding })
	s.t.log.Info("rebuilding state from the inputs", "rules", difference(s.before.Hashes, want))
	scratch := s.cfg.Store.Scratch(s.t.Partition)
	if err := scratch.Drop(); err != nil {
		return err
	}
	if err := s.refold(ctx, scratch); err != nil {
		return fmt.Errorf("rebuild: %w", err)
	}
	if err := s.at("refolded"); err != nil {
		return err
	}
	former := map[string]string{}
	maps.Copy(former, s.before.Former)
	maps.Copy(former, s.before.Hashes)
	s.versions = &changelog.Versions{Hashes: want, Former: former}
	s.rules, s.rebuilding = changelog.HashVersions(want), true
	s.begin() // the task clock stays where it was: timers fire afterwards
	s.batch.moved = true
	if err := s.commit(ctx); err != nil {
		return err
	}
	if err := s.reemit(ctx, scratch, former); err != nil {
		return fmt.Errorf("rebuild: %w", err)
	}
	if err := s.at("reemitted"); err != nil {
		return err
	}
	s.versions = &changelog.Versions{Hashes: want}
	s.rebuilding = false
	s.batch.moved = true
	if err := s.commit(ctx); err != nil {
		return err
	}
	return scratch.Drop()
}

// refold folds the facts of everything that was read so far into scratch space,
// in the order of a run over history.
func (s *session) refold(ctx context.Context, scratch *state.Task) error {
	first, err := s.t.Instance.Cluster.ListOne(ctx, broker.Start, s.cfg.Sources(), s.t.Partition)
	if err != nil {
		return err
	}
	next := map[string]int64{}
	for _, in := range s.feed.Inputs() {
		next[in.Topic] = in.Next
		if first[in.Topic] > 0 {
			s.t.log.Warn("retention has deleted the beginning of a topic: what stood there is lost by the rebuild",
				"topic", in.Topic, "first_offset", first[in.Topic])
		}
	}
	r := newFolder(s.t, scratch)
	r.feed = feed.Past(s.t.FeedOptions(), first, next)
	defer r.feed.Close()
	for {
		in, err := r.feed.Following(ctx)
		if err != nil {
			return err
		}
		if in == nil {
			return r.spill(scratch)
		}
		for n := range in.Head.Parts() {
			if err := r.foldFact(in.Head.Part(n)); err != nil {
				return err
			}
		}
		in.Pop()
		if len(r.customers.Dirty) >= restoreChunk || r.batch.state >= restoreBytes {
			if err := r.spill(scratch); err != nil {
				return err
			}
		}
	}
}

// foldFact folds one record if the run folded it.
func (s *folder) foldFact(h *feed.Head) error {
	if h.Bad() || h.Result == schemas.IsSkipped || s.route.Partition(h.Ev.Customer) != s.t.Partition || h.Result == schemas.IsEvent && h.Ev.At > s.feed.Horizon() {
		return nil
	}
	e, err := s.customers.Get(h.Ev.Customer)
	if err != nil {
		return err
	}
	if h.Result == schemas.IsEvent {
		if ok, err := s.fits(e, h); err != nil || !ok {
			return err // it was refused then, too
		}
	}
	if h.Result == schemas.IsTombstone {
		e.C = s.cfg.Engine.NewCustomer(h.Ev.Customer)
	} else {
		s.feed.Clock.Latest = max(s.feed.Clock.Latest, h.Ev.At)
		s.believe(h)
		s.batch.eval.FoldFacts(e.C, &h.Ev, &s.batch.out)
	}
	s.touch(e)
	return nil
}

// spill writes changed customers to the scratch space.
func (s *folder) spill(scratch *state.Task) error {
	var ignored changelog.Position
	s.changes(&ignored)
	limit := s.t.Instance.cacheShare()
	s.customers.Committed(limit)
	if err := scratch.Fill(s.customers.Changes()); err != nil {
		return err
	}
	s.customers.Stored()
	s.customers.Evict(limit)
	s.batch.reset()
	return nil
}

// reemit gives every customer its new facts: those that are stored, and then
// those that only the scratch space knows.
func (s *session) reemit(ctx context.Context, scratch *state.Task, former map[string]string) error {
	lost := 0
	var buf []byte
	one := func(id string) error {
		b, ok, err := scratch.Customer(buf[:0], id)
		if err != nil {
			return err
		}
		buf = b
		fresh := s.cfg.Engine.NewCustomer(id)
		if !ok {
			lost++
		} else if fresh, err = s.cfg.Engine.Decode(id, b); err != nil {
			return err
		}
		return s.reemitOne(ctx, id, fresh, former)
	}
	if err := s.t.Store.Scan("", func(id string, _ []byte) error { return one(id) }); err != nil {
		return err
	}
	err := s.cfg.Store.Scratch(s.t.Partition).Scan("", func(id string, _ []byte) error {
		if e, err := s.customers.Get(id); err != nil || e.Known || e.Dirty {
			return err
		}
		return one(id)
	})
	if lost > 0 {
		s.t.log.Warn("customers that the inputs no longer mention have lost their facts", "customers", lost)
	}
	return err
}

func (s *session) reemitOne(ctx context.Context, id string, fresh *engine.Customer, former map[string]string) error {
	e, err := s.customers.Get(id)
	if err != nil {
		return err
	}
	s.step(place{}, 0)
	s.batch.eval.Rebuild(e.C, fresh, former, s.feed.Clock.Now, &s.batch.out)
	s.touch(e)
	s.encode()
	if !s.batch.full(s.limits()) {
		return nil
	}
	s.batch.moved = true
	return s.commit(ctx)
}
