package checker

import (
	"slices"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/config"
)

// several makes one dead letter of those of a topic and partition, that names n records
// in value, or all if value is empty.
func (h *History) several(t *testing.T, value string, n int) {
	t.Helper()
	p, i := h.find(t, "shop.dlq")
	first, _, err := letterOf(h.Topics["shop.dlq"][p][i])
	if err != nil {
		t.Fatal(err)
	}
	list, found := "", 0
	h.Topics["shop.dlq"][p] = slices.DeleteFunc(slices.Clone(h.Topics["shop.dlq"][p]), func(r *kgo.Record) bool {
		c, _, err := letterOf(r)
		if err != nil || c.topic != first.topic || c.partition != first.partition {
			return false
		}
		if found++; found > 1 {
			list += ","
		}
		list += strconv.FormatInt(c.offset, 10)
		return true
	})
	if value == "" {
		value, n = list, found
	}
	header := func(key, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: key, Value: []byte(value)} }
	h.Topics["shop.dlq"][p] = append(h.Topics["shop.dlq"][p], &kgo.Record{Topic: "shop.dlq", Partition: p, Value: []byte(value), Headers: []kgo.RecordHeader{
		header("dlq.cause", "format"), header("dlq.topic", first.topic), header("dlq.partition", strconv.Itoa(int(first.partition))),
		header("dlq.offset", strconv.FormatInt(first.offset, 10)), header("dlq.left_out", strconv.Itoa(n)),
	}})
}

// A dead letter that stands for several records accounts for each of them, and for
// nothing else.
func TestLettersOfSeveral(t *testing.T) {
	g := goodOf(t, config.EventsClock)
	for _, c := range []struct {
		name, value string
		n           int
		good        bool
	}{
		{"all", "", 0, true},
		{"too few", "0", 1, false},
		{"too many", "0-2000", 2001, false},
		{"fewer than it says", "0-3,5", 6, false},
		{"no list", "a", 1, false},
		{"a range that goes back", "5-3", 1, false},
		{"a range without end", "0-9223372036854775806", 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, cfg := copyOf(g.h), g.cfg
			h.several(t, c.value, c.n)
			r, err := cfg.Judge(t.Context(), h)
			if err != nil || (r.Count() == 0) != c.good {
				t.Errorf("%v %v", r, err)
			}
		})
	}
	h, cfg := copyOf(g.h), g.cfg
	cfg.AtLeastOnce = true
	h.several(t, "", 0)
	for p, l := range h.Topics["shop.dlq"] {
		h.Topics["shop.dlq"][p] = append(slices.Clone(g.h.Topics["shop.dlq"][p]), slices.DeleteFunc(slices.Clone(l), func(r *kgo.Record) bool {
			_, several, _ := leftOutOf(r)
			return !several
		})...)
	}
	if r, err := cfg.Judge(t.Context(), h); err != nil || r.Count() != 0 || r.Repeats == 0 {
		t.Errorf("some of their own, and one of several: %v %v, %d repeats", r, err, r.Repeats)
	}
}
