package engine

// Merge folds src's facts into dst, which is then advanced to the latest of both
// instants and the clock, and emits the differences with CauseMerge. The sets of
// events are taken to be disjoint; those that both remember are counted once
// where entries allow it, and counted in Stats.Unmerged where not. The emitted state
// of src is not merged, and triggers that its facts make overdue do not fire: they
// were src's.
func (x *Evaluator) Merge(dst, src *Customer, clock Millis, out *Output) {
	e := x.e
	x.begin(dst, out)
	now := max(dst.instant, src.instant, clock)
	e.fire(x, now)
	exact := e.mergeFacts(dst, src, now)
	if !exact {
		out.Stats.Unmerged++
	}
	e.emitAgain(x, now, CauseMerge, false)
}

// mergeFacts adds src's facts to dst's, cut to instant at. It reports whether
// every shared event was counted once.
func (e *Engine) mergeFacts(dst, src *Customer, at Millis) bool {
	dst.seen.Forget(at, &e.dedup)
	shared := dst.seen.Merge(&src.seen, at, &e.dedup)
	dst.events += src.events - uint64(len(shared))
	exact := true
	for i := range src.cells {
		from := &src.cells[i]
		reach := e.p.Summaries[from.summary].Reach
		to := e.cell(dst, int(from.summary)).sum()
		to.Prune(at, reach)
		from.sum().Prune(at, reach)
		exact = to.Merge(from.sum(), shared) && exact
	}
	return exact
}

// emitAgain evaluates every rule at now and emits the differences. With silent set,
// rule triggers take their condition as it is without firing.
func (e *Engine) emitAgain(x *Evaluator, now Millis, cause Cause, silent bool) {
	c := x.c
	x.setNow(now)
	c.instant = now
	for i := range c.cells {
		c.cells[i].next = e.next(x, &c.cells[i])
	}
	x.late = x.late[:0]
	for u := range e.p.Units {
		x.touched.Add(u)
	}
	x.silent = silent
	e.step(x, now, cause, "")
	x.silent = false
	dues := c.dues()
	for i := range e.triggers {
		t := &e.p.Triggers[i]
		e.triggers[i].Settle(x.viewOf(t), c.memoryOf(t.Key))
		dues[i] = e.due(x, i, now)
	}
	e.schedule(c)
}

// FoldFacts folds one event into the facts and emits nothing. It returns false
// if the event was already folded.
func (x *Evaluator) FoldFacts(c *Customer, ev *Event, out *Output) bool {
	e := x.e
	x.begin(c, out)
	id := e.idOf(ev)
	if e.duplicate(c, id, out) {
		return false
	}
	c.instant = max(c.instant, ev.At)
	e.match(x, ev)
	e.place(x)
	for i := range x.matched {
		m := &x.matched[i]
		m.cell.sum().Prune(c.instant, e.p.Summaries[m.Summary].Reach)
	}
	e.foldMatched(x, ev)
	c.seen.Remember(id, c.instant, &e.dedup)
	c.events++
	return true
}
