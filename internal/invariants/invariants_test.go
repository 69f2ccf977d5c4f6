package invariants

import "testing"

func TestBroken(t *testing.T) {
	defer func() {
		if r := recover(); (r != nil) != Enabled {
			t.Errorf("enabled: %v; recovered %v", Enabled, r)
		}
	}()
	Broken("one is %d", 2)
}

func TestSampler(t *testing.T) {
	var s Sampler
	n := 0
	for range 100 {
		if s.Every(10) {
			n++
		}
	}
	if want := map[bool]int{true: 10, false: 0}[Enabled]; n != want {
		t.Errorf("%d of 100, want %d", n, want)
	}
}
