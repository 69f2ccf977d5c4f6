//go:build segmill_invariants || invariants

package invariants

import "fmt"

// Enabled reports whether invariants are checked.
const Enabled = true

// Broken panics: an invariant does not hold.
func Broken(format string, args ...any) { panic("invariant: " + fmt.Sprintf(format, args...)) }

// Sampler picks some of many calls, for checks that are too dear for each. The zero
// Sampler is ready. It takes no memory where invariants are not checked.
type Sampler struct{ calls uint }

// Every reports true at the first call and at each nth one after it.
func (s *Sampler) Every(n uint) bool {
	s.calls++
	return s.calls%n == 1%n
}
