package plan

import "math/bits"

// Set is a set of units, taken out in ascending order.
type Set struct {
	words []uint64
	any   []uint64 // bit w: words[w] may hold something
}

// NewSet returns an empty set of numbers below n.
func NewSet(n int) Set {
	w := (n + 63) / 64
	return Set{make([]uint64, w), make([]uint64, (w+63)/64)}
}

// Add adds unit u.
func (s *Set) Add(u int) {
	w := u >> 6
	s.words[w] |= 1 << (u & 63)
	s.any[w>>6] |= 1 << (w & 63)
}

// AddAll adds units.
func (s *Set) AddAll(units []int) {
	for _, u := range units {
		s.Add(u)
	}
}

// Empty reports whether nothing is in the set.
func (s *Set) Empty() bool {
	for _, a := range s.any {
		if a != 0 {
			return false
		}
	}
	return true
}

// Pop removes and returns the least unit, -1 if there is none.
func (s *Set) Pop() int {
	for i, a := range s.any {
		if a == 0 {
			continue
		}
		w := i<<6 + bits.TrailingZeros64(a)
		u := w<<6 + bits.TrailingZeros64(s.words[w])
		if s.words[w] &= s.words[w] - 1; s.words[w] == 0 {
			s.any[i] &= a - 1
		}
		return u
	}
	return -1
}
