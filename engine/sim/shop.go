package sim

import (
	"container/heap"
	"iter"
	"math/rand/v2"
)

// Shop returns the events of an imaginary shop in order of time, from an instant
// up to but not including another: visits, carts left and bought, refunds,
// newsletters, profiles, consents. Fields are those of the Avro schemas.
//
// The same arguments give the same events. They are made while they are read, so
// that a history can be longer than memory: what is held at a time is a little
// for each customer.
func Shop(seed uint64, customers int, from, to Millis) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		q := make(queue, 0, customers)
		for i := range customers {
			s := newShopper(rand.New(rand.NewPCG(seed, uint64(i))), i, from, to)
			if s.fill(to) {
				q = append(q, s)
			}
		}
		heap.Init(&q)
		for len(q) > 0 {
			s := q[0]
			r := s.agenda[0]
			s.agenda = s.agenda[1:]
			if !yield(r) {
				return
			}
			if s.fill(to) {
				heap.Fix(&q, 0)
			} else {
				heap.Pop(&q)
			}
		}
	}
}

// queue holds the customers by the time of their next event; customers without
// one are not in it.
type queue []*shopper

func (q queue) Len() int      { return len(q) }
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(*shopper)) }

func (q queue) Less(i, j int) bool {
	if a, b := q[i].agenda[0].At, q[j].agenda[0].At; a != b {
		return a < b
	}
	return q[i].number < q[j].number
}

func (q *queue) Pop() any {
	l := *q
	s := l[len(l)-1]
	*q = l[:len(l)-1]
	return s
}
