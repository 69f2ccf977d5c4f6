package feed

import (
	"sync"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/engine"
)

// Marks are up to which instant each task has spoken to the others: whatever its inputs
// had up to then is committed, with what was forwarded of it. A mark is true whoever owns
// the task now, so that the greatest one that is known counts. Marks can be used by several
// goroutines.
type Marks struct {
	mu sync.Mutex
	at map[int32]engine.Millis
}

// Say takes in that a task has spoken up to an instant.
func (m *Marks) Say(task int32, at engine.Millis) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.at == nil {
		m.at = map[int32]engine.Millis{}
	}
	if was, ok := m.at[task]; !ok || at > was {
		m.at[task] = at
	}
}

// Of returns up to which instant a task has spoken, false if that is not known.
func (m *Marks) Of(task int32) (at engine.Millis, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, ok = m.at[task]
	return at, ok
}

// bound is up to which instant a task can know what others forward to it.
type bound struct {
	at   engine.Millis // changelog.Never if one of them has never spoken
	task int32         // the one that is furthest behind
	any  bool          // there are others to wait for
}

// bound returns the least mark of some tasks.
func (m *Marks) bound(senders []int32) (b bound) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, task := range senders {
		at, ok := m.at[task]
		if !ok {
			at = changelog.Never
		}
		if !b.any || at < b.at {
			b = bound{at: at, task: task, any: true}
		}
	}
	return b
}
