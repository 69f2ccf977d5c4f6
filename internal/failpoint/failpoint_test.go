package failpoint

import (
	"errors"
	"testing"
	"unsafe"
)

// What is attached is called where points are enabled. Where they are not, there is
// no place to keep it.
func TestPoints(t *testing.T) {
	var p Points
	if err := p.At(1, "begun"); err != nil {
		t.Errorf("nothing is attached: %v", err)
	}
	crash := errors.New("crash")
	p.Attach(func(task int32, point string) error {
		if task != 1 || point != "begun" {
			t.Errorf("called for task %d at %s", task, point)
		}
		return crash
	})
	if err := p.At(1, "begun"); errors.Is(err, crash) != Enabled {
		t.Errorf("enabled: %v, and got %v", Enabled, err)
	}
	if size := unsafe.Sizeof(p); (size == 0) == Enabled {
		t.Errorf("enabled: %v, and takes %d bytes", Enabled, size)
	}
}
