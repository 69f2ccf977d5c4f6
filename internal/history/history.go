// Package history reads files of events as one history: the lines of each file stay in
// their order, and those of several files are put in the order of time. Of a file, a
// bounded number of lines is in memory.
package history

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/internal/replay"
	"github.com/segmill/segmill/schemas"
)

// Source is a file of events.
type Source struct {
	Name string
	// Topic is the input whose records the lines are. Without one, each line is an event
	// that names its stream.
	Topic string
	// In is what the file holds; it may be compressed.
	In io.Reader
	// Members counts members of events that are probably misspelt, as the last rule set
	// has them; nil if nobody looks.
	Members *replay.Members
}

// Line is a line of a file, or an element of the array that it is.
type Line struct {
	Source *Source
	Number int  // from 1
	Array  bool // it is an element
	// Read is what the line is under each rule set.
	Read []replay.Decoded

	at engine.Millis // its place in time
}

// History is what several files hold, in the order of time.
type History struct {
	order order
	last  *feed // whose line was given last
	stop  context.CancelFunc
	done  sync.WaitGroup
	broke func() // deferred by what reads a file
}

// Options are how a history is read.
type Options struct {
	// Readers make events of lines, one for each rule set.
	Readers []*schemas.Reader
	// OnPanic is deferred in each goroutine that reads a file; nil: nothing is.
	OnPanic func()
}

// linesAhead is how many lines of all files are read before they are needed, and
// leastAhead how many of each.
const (
	linesAhead = 1024
	leastAhead = 8
)

// Open begins to read files, each in a goroutine of its own until its end or Close. A file
// that cannot be read is an error of Next, which comes behind the lines that could.
func Open(ctx context.Context, sources []*Source, opt Options) *History {
	ctx, stop := context.WithCancel(ctx)
	h := &History{stop: stop, broke: opt.OnPanic}
	for i, src := range sources {
		f := &feed{
			number: i, place: i, full: make(chan chunk, 1), empty: make(chan []Line, 2),
			file: file{source: src, size: max(leastAhead, linesAhead/len(sources))},
		}
		for _, r := range opt.Readers {
			f.decoders = append(f.decoders, replay.Decoder{Reader: r, Topic: src.Topic})
		}
		if n := len(f.decoders); n > 0 {
			f.decoders[n-1].Members = src.Members
		}
		f.empty <- nil
		f.empty <- nil
		h.order = append(h.order, f)
		h.done.Go(func() {
			if h.broke != nil {
				defer h.broke()
			}
			f.run(ctx)
		})
	}
	for _, f := range h.order {
		f.advance()
	}
	heap.Init(&h.order)
	return h
}

// Next returns the next line, which is valid until the next call; io.EOF behind the last
// one. Another error begins with the name of the file that cannot be read.
func (h *History) Next() (*Line, error) {
	if h.last != nil {
		h.last.advance()
		if h.last.ended() {
			heap.Remove(&h.order, h.last.place)
		} else {
			heap.Fix(&h.order, h.last.place)
		}
		h.last = nil
	}
	for len(h.order) > 0 && h.order[0].ended() { // an empty file
		heap.Pop(&h.order)
	}
	if len(h.order) == 0 {
		return nil, io.EOF
	}
	f := h.order[0]
	if len(f.lines) == 0 {
		return nil, fmt.Errorf("%s: %w", f.source.Name, f.err)
	}
	h.last = f
	return f.head(), nil
}

// Close ends the reading and waits for it. What In is blocked in has to end by itself.
func (h *History) Close() {
	h.stop()
	h.done.Wait()
}

// order is a heap of feeds by the time of their next line, and of those that are equal
// by their number.
type order []*feed

// Len is part of heap.Interface.
func (o order) Len() int { return len(o) }

// Less is part of heap.Interface.
func (o order) Less(i, j int) bool {
	a, b := o[i].at(), o[j].at()
	return a < b || a == b && o[i].number < o[j].number
}

// Swap is part of heap.Interface.
func (o order) Swap(i, j int) {
	o[i], o[j] = o[j], o[i]
	o[i].place, o[j].place = i, j
}

// Push is part of heap.Interface.
func (o *order) Push(x any) {
	f, _ := x.(*feed)
	f.place = len(*o)
	*o = append(*o, f)
}

// Pop is part of heap.Interface.
func (o *order) Pop() any {
	f := (*o)[len(*o)-1]
	*o = (*o)[:len(*o)-1]
	return f
}

// feed is a file that is read ahead.
type feed struct {
	file
	number, place int

	full  chan chunk  // lines that were read
	empty chan []Line // memory for more
	lines []Line      // what is left of chunk
	chunk []Line
	err   error
}

// chunk are some lines of a file and the error behind them.
type chunk struct {
	lines []Line
	err   error
}

// run reads the file until its end or that of ctx.
func (f *feed) run(ctx context.Context) {
	defer close(f.full)
	for {
		var c chunk
		select {
		case c.lines = <-f.empty:
		case <-ctx.Done():
			c.err = context.Cause(ctx)
		}
		if c.err == nil {
			c.lines, c.err = f.read(c.lines[:0])
		}
		select {
		case f.full <- c:
		case <-ctx.Done():
			return
		}
		if c.err != nil {
			return
		}
	}
}

// advance goes to the next line, or to the error behind the last one.
func (f *feed) advance() {
	if len(f.lines) > 0 {
		f.lines = f.lines[1:]
	}
	for len(f.lines) == 0 && f.err == nil {
		if f.chunk != nil {
			f.empty <- f.chunk
		}
		c, ok := <-f.full
		if !ok {
			c.err = context.Canceled
		}
		f.lines, f.chunk, f.err = c.lines, c.lines, c.err
	}
}

// head is the next line.
func (f *feed) head() *Line { return &f.lines[0] }

// at is the place of the next line in time. An error comes at once.
func (f *feed) at() engine.Millis {
	if len(f.lines) == 0 {
		return -engine.Never
	}
	return f.lines[0].at
}

// ended reports whether there is neither a line nor an error left.
func (f *feed) ended() bool { return len(f.lines) == 0 && errors.Is(f.err, io.EOF) }
