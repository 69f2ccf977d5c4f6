package consumer

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/cache"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/state"
)

// readVersions reads the versions that belong to the position.
func (s *session) readVersions(b []byte) error {
	v, err := changelog.DecodeVersions(b)
	if err != nil {
		return fmt.Errorf("%w: %w", fault.ErrLocal, err)
	}
	s.stored = v
	return nil
}

// checkRules compares the rules under which the customers were told with those of
// the engine, and rebuilds if they differ and that is allowed.
func (s *session) checkRules(ctx context.Context) error {
	s.rules = s.pos.Rules
	want := s.cfg.Engine.Versions()
	same := changelog.HashVersions(want) == s.pos.Rules
	if same && !s.pos.Rebuilding {
		return nil
	}
	if !same && !s.cfg.Rebuild {
		return fault.Fatal("the rules are not those that the state was built with (%s): with --rebuild the state is made again from the inputs, and the differences are told",
			difference(s.stored.Hashes, want))
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
// were read, gives them to the customers, and tells the differences.
//
// It takes many transactions, and may die between any two. The first one says
// that a rebuild is on its way, and under which rule sets customers may have been
// told; every one leaves each customer either as it was or rebuilt; the last one
// says that it is complete. What dies in the middle is done again from the
// beginning: a customer that was rebuilt is then given the same facts at the same
// clock, which tells nothing and writes nothing. No input is read before the end,
// so the facts and the offsets fit together throughout.
func (s *session) rebuild(ctx context.Context, want map[string]string) error {
	s.t.set(func(st *TaskStatus) { st.State = Rebuilding })
	s.t.log.Info("rebuilding state from the inputs", "rules", difference(s.stored.Hashes, want))
	scratch := s.cfg.Store.Scratch(s.t.n)
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
	maps.Copy(former, s.stored.Former)
	maps.Copy(former, s.stored.Hashes)
	s.versions = &changelog.Versions{Hashes: want, Former: former}
	s.rules, s.rebuilding = changelog.HashVersions(want), true
	s.readWall() // the task clock stays where it was: timers fire afterwards
	s.batch.moved = true
	if err := s.commit(ctx); err != nil {
		return err
	}
	if err := s.retell(ctx, scratch, former); err != nil {
		return fmt.Errorf("rebuild: %w", err)
	}
	if err := s.at("retold"); err != nil {
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
	first, err := s.t.o.cluster.ListOne(ctx, broker.Start, s.cfg.Sources(), s.t.n)
	if err != nil {
		return err
	}
	next := map[string]int64{}
	for _, in := range s.inputs {
		next[in.topic] = in.next
		if first[in.topic] > 0 {
			s.t.log.Warn("retention has deleted the beginning of a topic: what stood there is lost by the rebuild",
				"topic", in.topic, "first_offset", first[in.topic])
		}
	}
	r, err := s.t.past(s.route, first, next)
	if err != nil {
		return err
	}
	defer r.close()
	r.customers = cache.New(s.cfg.Engine, scratch)
	for {
		in, err := r.following(ctx)
		if err != nil {
			return err
		}
		if in == nil {
			return r.spill(scratch)
		}
		if err := r.foldFact(&in.head); err != nil {
			return err
		}
		in.pop()
		if len(r.customers.Dirty) >= restoreChunk || r.batch.state >= restoreBytes {
			if err := r.spill(scratch); err != nil {
				return err
			}
		}
	}
}

// past returns a session that reads again what a task has taken: of every topic
// in next the records from first on and before next, in the order of a run over
// history, or, if the task goes by the wall clock, in the order of arrival.
func (t *Task) past(route broker.Router, first, next map[string]int64) (*session, error) {
	cfg := &t.o.cfg
	live := cfg.Time.Clock == config.WallClock
	r := &session{t: t, cfg: cfg, route: route, batch: newBatch(cfg.Engine), arrival: live}
	for _, topic := range slices.Sorted(maps.Keys(next)) {
		in := newInput(topic, min(first[topic], next[topic]), topic == cfg.Repartition())
		in.limit, in.end, in.stable = next[topic], next[topic], next[topic]
		r.inputs = append(r.inputs, in)
	}
	r.merge = merge{inputs: r.inputs, mode: config.EventsClock}
	grace := millis(cfg.Time.Grace)
	r.clock = clock{mode: config.EventsClock, grace: grace, silence: grace, now: changelog.Never, order: changelog.Never, latest: changelog.Never}
	r.horizon = cfg.SkewNow() + millis(cfg.Time.MaxFutureSkew)
	var err error
	r.fetch, err = t.o.newFetcher(t.n, r.inputs)
	return r, err
}

// following returns the input whose head is next, which the caller pops, or nil
// at the end of the past.
func (s *session) following(ctx context.Context) (*input, error) {
	for !s.exhausted() {
		if err := s.load(); err != nil {
			return nil, err
		}
		s.clock.advance(s.inputs)
		if s.merge.missing() == nil {
			if in := s.merge.next(s.clock.order, s.horizon); in != nil {
				return in, nil
			}
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := s.fetch.poll(ctx, s.wait()); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// foldFact folds one record if the run folded it.
func (s *session) foldFact(h *head) error {
	if h.bad() || s.route.Partition(h.ev.Customer) != s.t.n || h.result == schemas.IsEvent && h.ev.At > s.horizon {
		return nil
	}
	e, err := s.customers.Get(h.ev.Customer)
	if err != nil {
		return err
	}
	if h.result == schemas.IsEvent {
		if ok, err := s.fits(e, h); err != nil || !ok {
			return err // it was refused then, too
		}
	}
	if h.result == schemas.IsTombstone {
		e.C = s.cfg.Engine.NewCustomer(h.ev.Customer)
	} else {
		s.clock.latest = max(s.clock.latest, h.ev.At)
		if !s.batch.eval.FoldFacts(e.C, &h.ev, &s.batch.out) {
			return nil
		}
	}
	s.touch(e)
	return nil
}

// spill writes changed customers to the scratch space.
func (s *session) spill(scratch *state.Task) error {
	var ignored changelog.Position
	s.changes(&ignored)
	limit := s.t.o.cacheShare()
	s.customers.Committed(limit)
	if err := scratch.Fill(s.customers.Changes()); err != nil {
		return err
	}
	s.customers.Stored()
	s.customers.Evict(limit)
	s.batch.reset()
	return nil
}

// retell gives every customer its new facts: those that are stored, and then
// those that only the scratch space knows.
func (s *session) retell(ctx context.Context, scratch *state.Task, former map[string]string) error {
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
		return s.retellOne(ctx, id, fresh, former)
	}
	if err := s.t.store.Scan("", func(id string, _ []byte) error { return one(id) }); err != nil {
		return err
	}
	err := s.cfg.Store.Scratch(s.t.n).Scan("", func(id string, _ []byte) error {
		if e, err := s.customers.Get(id); err != nil || e.Known || e.Dirty {
			return err
		}
		return one(id)
	})
	if lost > 0 {
		s.t.log.Warn("customers of whom the inputs know nothing any more have lost their facts", "customers", lost)
	}
	return err
}

func (s *session) retellOne(ctx context.Context, id string, fresh *engine.Customer, former map[string]string) error {
	e, err := s.customers.Get(id)
	if err != nil {
		return err
	}
	s.step(place{}, 0)
	s.batch.eval.Rebuild(e.C, fresh, former, s.clock.now, &s.batch.out)
	s.touch(e)
	s.encode()
	if !s.batch.full(s.limits()) {
		return nil
	}
	s.batch.moved = true
	return s.commit(ctx)
}
