package task

import "fmt"

// publish makes the state of the session visible.
func (s *session) publish() {
	lag := s.feed.Lag()
	behind := s.feed.Behind(s.wall)
	waits, now := s.feed.Waits(), s.cfg.Now()
	held, change := s.feed.Held(), s.changeText()
	s.t.set(func(st *Status) {
		switch {
		case held != nil:
			st.State, st.Error = Waiting, held.Error()
		case st.State == Waiting:
			st.State, st.Error = Running, ""
		}
		st.Clock, st.Lag, st.Customers, st.Behind = s.feed.Clock.Now, lag, s.customers.Len(), behind
		st.Waits, st.looped = waits, now
		st.Rules, st.Change = s.cfg.Name, change
		if s.t.refused == nil {
			st.Refused = ""
		}
	})
}

// changeText says how far a change of rules has come, "" if there is none.
func (s *session) changeText() string {
	switch {
	case s.pass != nil:
		return fmt.Sprintf("judging, %d customers so far", s.pass.done)
	case s.t.preparing != nil:
		return s.t.preparing.String()
	}
	return ""
}

// showRebuilding shows why a change of rules waits for a record: it does not publish what a
// running session does. nil ends that.
func (t *Task) showRebuilding(why error) {
	t.set(func(st *Status) {
		switch {
		case st.State != Rebuilding && st.State != Applying:
		case why == nil:
			st.Error = ""
		default:
			st.Error = why.Error()
		}
	})
}
