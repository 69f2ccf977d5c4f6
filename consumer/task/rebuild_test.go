package task

import (
	"testing"

	"github.com/segmill/segmill/engine/ruleset"
)

func TestDifference(t *testing.T) {
	before := map[string]string{"same": "1", "gone": "2", "other": "3", "old": "4"}
	after := map[string]string{"same": "1", "new": "2", "other": "4", "young": "4"}
	if got, want := difference(before, after, ruleset.Renames{"old": "young"}), "renamed: young (was old); changed: other; added: new; removed: gone"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
