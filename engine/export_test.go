package engine

// ForgetIDs drops the event ids that c remembers.
func (c *Customer) ForgetIDs() { c.seen, c.ids = nil, nil }

// SeenBytes returns how many bytes of c's encoded form are event ids, and how many
// there are.
func (c *Customer) SeenBytes() (bytes, ids int) {
	return len(appendIDs(nil, c.seen, c.instant)) - 1, len(c.seen)
}
