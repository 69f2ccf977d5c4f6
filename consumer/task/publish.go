package task

// publish makes the state of the session visible.
func (s *session) publish() {
	lag := s.feed.Lag()
	behind := s.feed.Behind(s.wall)
	waits, now := s.feed.Waits(), s.cfg.Now()
	held := s.feed.Held()
	s.t.set(func(st *Status) {
		switch {
		case held != nil:
			st.State, st.Error = Waiting, held.Error()
		case st.State == Waiting:
			st.State, st.Error = Running, ""
		}
		st.Clock, st.Lag, st.Customers, st.Behind = s.feed.Clock.Now, lag, s.customers.Len(), behind
		st.Waits, st.looped = waits, now
	})
}

// showRebuilding shows why a rebuild waits for a record: it does not publish what a
// running session does. nil ends that.
func (t *Task) showRebuilding(why error) {
	t.set(func(st *Status) {
		switch {
		case st.State != Rebuilding:
		case why == nil:
			st.Error = ""
		default:
			st.Error = why.Error()
		}
	})
}
