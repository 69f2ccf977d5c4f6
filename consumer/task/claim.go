package task

import (
	"maps"
	"slices"
	"strings"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/state"
)

// again writes the customers of void records as they are.
func (s *session) again(add func(key, value []byte)) error {
	for _, key := range slices.Sorted(maps.Keys(s.rewrite)) {
		var value []byte
		var err error
		switch id, ok := strings.CutPrefix(key, changelog.CustomerPrefix); {
		case ok:
			value, _, err = s.customers.Value(nil, id) // nil if there is none: a tombstone
		case key == changelog.VersionsKey && s.unstoredVersions != nil:
			value = s.unstoredVersions
		case key == changelog.VersionsKey:
			var meta state.Meta
			meta, ok, err = s.t.Store.Meta()
			if value = meta.Versions; !ok {
				continue // the first batch writes them
			}
		default:
			continue // written by every batch
		}
		if err != nil {
			return err
		}
		add([]byte(key), value)
	}
	return nil
}

// follow takes in what others have written to the changelog, and ends the session
// if one of them has claimed the task, or may have.
func (s *session) follow() error {
	if err := s.ledger.Alive(); err != nil {
		return err
	}
	s.ledger.TakeVoid(s.rewrite)
	return nil
}
