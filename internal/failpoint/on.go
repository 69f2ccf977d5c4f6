//go:build segmill_invariants || invariants

package failpoint

// Enabled reports whether points can be attached to.
const Enabled = true

// Points are the named points of the tasks of one instance. The zero Points lets every
// task pass.
type Points struct {
	at func(task int32, point string) error
}

// Attach has a function called at every point that a task passes, by its goroutine. An
// error is to the task what a crash would be. It replaces what was attached before.
func (p *Points) Attach(at func(task int32, point string) error) { p.at = at }

// At passes a point.
func (p Points) At(task int32, point string) error {
	if p.at == nil {
		return nil
	}
	return p.at(task, point)
}
