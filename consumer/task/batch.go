package task

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/schemas"
)

// batch is what one transaction will hold.
type batch struct {
	steps  int  // records taken and timers fired
	bytes  int  // of records read and to be written, about
	state  int  // bytes of the customers that it changes, as they were
	moved  bool // an offset has moved
	timers bool // a timer has fired

	records []*kgo.Record // outputs, dead letters, forwards
	slab    slab
	changes []change
	// transaction are all records of it.
	transaction []*kgo.Record

	eval    *engine.Evaluator // nil where no events are folded
	out     engine.Output
	encoded int       // effects that are in records
	counted []counted // the effects that are in records
	effect  schemas.Output
	// Memory of records' keys, values and headers; kept until they are written.
	memory  arena[byte]
	headers arena[kgo.RecordHeader]

	folded, dead, forwarded uint64
	erased                  bool // a customer: it is not to linger in the store
	// results and causes are counted when the batch has committed.
	results map[result]int
	causes  map[string]int
	// leftOut and inOrder are records without a dead letter of their own.
	leftOut map[leftOutOf]*leftOut
	inOrder []*leftOut
	run     result // of the records taken last, which are so many
	runs    int
	// only is the record taken last, for a batch of one step; zero for a timer.
	only place
	// deferred: overdue timers are left because of their rate.
	deferred bool
}

// result is what became of a record of a topic.
type result struct{ topic, what string }

// became notes what became of n records. Mostly it is what became of those before.
func (b *batch) became(r result, n int) {
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
		eval:    eval,
		results: map[result]int{}, causes: map[string]int{},
		memory: arena[byte]{chunk: 64 << 10}, headers: arena[kgo.RecordHeader]{chunk: 1 << 10},
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
	clear(b.causes)
	*b = batch{
		records: b.records[:0], slab: b.slab, changes: b.changes[:0], transaction: b.transaction[:0],
		eval: b.eval, out: b.out, memory: b.memory, headers: b.headers, counted: b.counted[:0],
		results: b.results, causes: b.causes, deferred: b.deferred,
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
