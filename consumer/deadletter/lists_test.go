package deadletter

import (
	"fmt"
	"slices"
	"testing"

	"github.com/segmill/segmill/consumer/feed"
)

// What is left out is listed as ranges, by topic, partition and cause, and lists end
// before they are too large for a record.
func TestLeftOutLists(t *testing.T) {
	w := &Writer{}
	leave := func(offset int64, cause string) {
		w.leaveOut(&feed.Head{From: feed.Origin{Topic: "web", Offset: offset}}, cause)
	}
	for _, at := range []int64{3, 4, 5, 9, 11, 12, 10} {
		leave(at, "type")
	}
	leave(7, "size")
	var got []string
	for _, l := range w.inOrder {
		got = append(got, fmt.Sprintf("%s %d %d-%d: %s", l.cause, l.n, l.first, l.last, appendRange(l.ranges, l.from, l.to)))
	}
	if want := []string{"type 7 3-12: 3-5,9,11-12,10", "size 1 7-7: 7"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	w = &Writer{}
	for i := range int64(100_000) {
		leave(2*i, "type")
	}
	n := 0
	for _, l := range w.inOrder {
		n += l.n
		if len(l.ranges) > listBytes+100 {
			t.Errorf("a list of %d bytes", len(l.ranges))
		}
	}
	if n != 100_000 || len(w.inOrder) < 2 {
		t.Errorf("%d records in %d lists", n, len(w.inOrder))
	}
}
