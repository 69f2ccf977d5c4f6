package importing

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"runtime"
	"slices"
	"sync"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/imports"
)

// Sorted is what the files hold, ready to be written. Close it.
type Sorted struct {
	ID     string
	Counts Counts
	Kinds  map[Kind]imports.Range

	app        string
	partitions int32
	topics     []string
	forms      *forms
	spill      *spill
	fanIn      int
}

// Close removes what is on disk.
func (s *Sorted) Close() error { return s.spill.close() }

// Sort reads files and sorts what they hold. If something is refused and the rest is not to
// be kept, the result has counts only.
func Sort(ctx context.Context, files []File, opt Options) (*Sorted, error) {
	sp, err := newSpill(opt.Dir)
	if err != nil {
		return nil, spilled(err)
	}
	s := &Sorted{
		Counts: Counts{Refused: map[string]int64{}}, Kinds: map[Kind]imports.Range{},
		app: opt.App, partitions: opt.Partitions, forms: newForms(), spill: sp, fanIn: cmp.Or(opt.fanIn, mostRuns),
	}
	for i := range files {
		if !slices.Contains(s.topics, files[i].Topic) {
			s.topics = append(s.topics, files[i].Topic)
		}
	}
	if err = s.read(ctx, files, &opt); err == nil && (s.Counts.Bad() == 0 || opt.KeepRest) {
		s.spill, err = s.spill.fewer(opt.Dir, s.fanIn)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// read runs what reads: one goroutine cuts the files, several make events of the lines, and
// this one takes what became of them in the order of the files.
func (s *Sorted) read(ctx context.Context, files []File, opt *Options) error {
	n := runtime.GOMAXPROCS(0)
	c := &cutter{files: files, topics: s.topics, empty: make(chan *chunk, 2*n+1), full: make(chan *chunk, n)}
	for range cap(c.empty) {
		c.empty <- &chunk{}
	}
	out := make(chan outcome, n)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var cutting, working sync.WaitGroup
	start := func(g *sync.WaitGroup, do func() error) {
		g.Go(func() {
			if opt.OnPanic != nil {
				defer opt.OnPanic()
			}
			if err := do(); err != nil {
				stop(err)
			}
		})
	}
	start(&cutting, func() error { return c.run(ctx) })
	workers := make([]worker, n)
	for i := range workers {
		w := &workers[i]
		*w = worker{
			opt: opt, topics: s.topics, forms: s.forms, route: broker.NewRouter(opt.Partitions), counts: map[Kind]imports.Range{}, sum: sha256.New(),
			run: run{spill: s.spill, limit: cmp.Or(opt.memory, runBytes)},
		}
		start(&working, func() error { return w.work(ctx, c, out) })
	}
	go func() { // ends with the workers
		working.Wait()
		close(out)
	}()
	in := inOrder{sorted: s, opt: opt, id: newIdentity(opt.App, opt.Partitions, s.topics), waiting: map[uint64]outcome{}}
	for o := range out {
		if err := in.take(o); err != nil {
			stop(err)
			break
		}
	}
	for range out { // workers end once nobody holds them up
	}
	cutting.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	for i := range workers {
		merged(s.Kinds, workers[i].counts)
	}
	s.ID = in.id.id()
	return nil
}

// inOrder takes what became of chunks in their order. As many wait as there are chunks at
// most.
type inOrder struct {
	sorted  *Sorted
	opt     *Options
	id      identity
	next    uint64
	waiting map[uint64]outcome
}

func (in *inOrder) take(o outcome) error {
	in.waiting[o.chunk] = o
	for {
		o, ok := in.waiting[in.next]
		if !ok {
			return nil
		}
		delete(in.waiting, in.next)
		in.next++
		if err := in.count(&o); err != nil {
			return err
		}
	}
}

func (in *inOrder) count(o *outcome) error {
	c := &in.sorted.Counts
	c.Lines += o.lines
	c.Events += o.events
	c.NoEvents += o.noEvents
	in.id.Write(o.sum[:])
	for i := range o.refused {
		c.Refused[o.refused[i].Cause]++
		if err := in.opt.Refused(&o.refused[i]); err != nil {
			return err
		}
	}
	if in.opt.Progress != nil {
		in.opt.Progress(Progress{Lines: c.Lines, Refused: c.Bad(), Events: c.Events})
	}
	return nil
}
