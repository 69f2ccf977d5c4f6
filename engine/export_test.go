package engine

import "github.com/segmill/segmill/engine/dedup"

// ForgetIDs drops the event ids that c remembers.
func (c *Customer) ForgetIDs() { c.seen = dedup.Memory{} }

// SeenBytes returns how many bytes of c's encoded form are event ids, and how many
// there are.
func (c *Customer) SeenBytes() (bytes, ids int) {
	return len(c.seen.Append(nil, c.instant, nil)) - 1, c.seen.Len()
}
