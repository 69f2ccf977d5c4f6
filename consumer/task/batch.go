package task

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/schemas"
)

// batch is what one transaction will hold.
type batch struct {
	size
	moved    bool // an offset has moved
	timers   bool // a timer has fired
	erased   bool // a customer: it is not to linger in the store
	deferred bool // overdue timers are left because of their rate
	// only is the record taken last, for a batch of one step; zero for a timer.
	only place

	eval    *engine.Evaluator // nil where no events are folded
	out     engine.Output
	records []*kgo.Record // outputs, dead letters, forwards
	effects encodedEffects
	tally
	buffers
}

// size is how large a batch is: what limits bound.
type size struct {
	steps int // records taken and timers fired
	bytes int // of records read and to be written, about
	state int // bytes of the customers that it changes, as they were
}

// encodedEffects are the effects of a batch that are in its records.
type encodedEffects struct {
	n       int // of batch.out.Effects
	counted []counted
	record  schemas.Output // of one effect, used again
}

// tally is what became of the records of a batch. It is counted when the batch has
// committed.
type tally struct {
	folded, forwarded uint64
	results           map[result]int
	run               result // of the records taken last, which are so many
	runs              int
	nobody            nobody
}

// buffers are memory that a batch leaves to the next one.
type buffers struct {
	slab    slab
	memory  arena[byte] // of records' keys, values and headers
	headers arena[kgo.RecordHeader]
	changes []change
	// transaction are all records of it.
	transaction []*kgo.Record
}

// result is what became of a record of a topic.
type result struct{ topic, what string }

// became notes what became of n records. Mostly it is what became of those before.
func (b *tally) became(r result, n int) {
	if r != b.run && b.runs > 0 {
		b.results[b.run] += b.runs
		b.runs = 0
	}
	b.run = r
	b.runs += n
}

// newBatch returns an empty batch. e is nil where no events are folded.
func newBatch(e *engine.Engine) batch {
	var eval *engine.Evaluator
	if e != nil {
		eval = e.Evaluator()
	}
	return batch{
		eval: eval, tally: tally{results: map[result]int{}},
		buffers: buffers{memory: arena[byte]{chunk: 64 << 10}, headers: arena[kgo.RecordHeader]{chunk: 1 << 10}},
	}
}

func (b *batch) empty() bool { return b.steps == 0 }

// stateShare is how many times as many bytes of customers as of records a transaction
// may have. Few customers are so large that they come near to it; were they not
// counted, a transaction of them could be too long to be written in its time, again
// and again.
const stateShare = 8

// full reports whether the batch has reached a limit.
func (b *batch) full(steps, bytes int) bool {
	return b.steps >= steps || b.bytes >= bytes || b.state >= stateShare*bytes
}

func (b *batch) reset() {
	b.out.Reset()
	b.slab.reset()
	b.memory.reset()
	b.headers.reset()
	clear(b.records) // lets dead letters go, which can be large
	clear(b.transaction)
	clear(b.results)
	b.changes, b.transaction = b.changes[:0], b.transaction[:0]
	*b = batch{
		deferred: b.deferred, eval: b.eval, out: b.out, records: b.records[:0],
		effects: encodedEffects{counted: b.effects.counted[:0]}, tally: tally{results: b.results}, buffers: b.buffers,
	}
}

// record returns an empty record that lives as long as the batch.
func (b *batch) record() *kgo.Record { return b.slab.next() }

// slab is memory of records that is used again: records are made by the ten thousand
// and all end with their transaction.
type slab struct {
	chunks [][]kgo.Record
	n      int
}

const slabChunk = 512

func (s *slab) next() *kgo.Record {
	i, j := s.n/slabChunk, s.n%slabChunk
	if i == len(s.chunks) {
		s.chunks = append(s.chunks, make([]kgo.Record, slabChunk))
	}
	s.n++
	return &s.chunks[i][j]
}

func (s *slab) reset() {
	for i := 0; i*slabChunk < s.n; i++ {
		clear(s.chunks[i][:min(slabChunk, s.n-i*slabChunk)])
	}
	s.n = 0
}
