package task

import "testing"

func TestDifference(t *testing.T) {
	before := map[string]string{"same": "1", "other": "1", "gone": "1"}
	after := map[string]string{"same": "1", "other": "2", "new": "1"}
	if got, want := difference(before, after), "changed: other; added: new; removed: gone"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
