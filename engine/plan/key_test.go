package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/zeebo/xxh3"
)

// Two texts with one hash would share what is stored: they are refused.
func TestHashCollisionIsRefused(t *testing.T) {
	c := compiler{byKey: map[Key]string{KeyOf("text"): "other"}} // in place of a text that has the same hash
	if _, err := c.key("other text"); err != nil {
		t.Errorf("another key: %v", err)
	}
	_, err := c.key("text")
	if err == nil || !strings.Contains(err.Error(), `"other" and "text"`) || !strings.Contains(err.Error(), "rename one of them") {
		t.Errorf("the same key: %v", err)
	}
	c.byKey[KeyOf("text")] = "text"
	if _, err := c.key("text"); err != nil {
		t.Errorf("the same text again: %v", err)
	}
}

// Ids of events of declared streams are kept under 32 bits. Two with one hash are refused, and
// nothing else minds them.
func TestStreamHashCollisionIsRefused(t *testing.T) {
	streams := &Streams{own: []StreamInfo{{Name: "a", Key: streamKey("a")}, {Name: "b", Key: streamKey("b")}}}
	if err := streams.distinct(); err != nil {
		t.Error(err)
	}
	streams.own[1].Key = streamKey("a")
	if err := streams.distinct(); err == nil || !strings.Contains(err.Error(), `"a" and "b"`) {
		t.Error(err)
	}
	if err := (*Streams)(nil).distinct(); err != nil {
		t.Error(err)
	}
}

// 100,000 ids have as many keys, though some share the half that earlier formats have. That half
// is the lower one of the hash, and keys sort as it did.
func TestKeys(t *testing.T) {
	keys, halves := map[Key]bool{}, map[uint32]string{}
	shared := 0
	var before Key
	for i := range 100_000 {
		text := fmt.Sprintf("segment s%d", i)
		k := KeyOf(text)
		if keys[k] || k.Short() {
			t.Fatalf("%s has the key %x", text, k)
		}
		keys[k] = true
		half := uint32(xxh3.HashString(text))
		if k.Half() != half {
			t.Fatalf("the half of %x is %x, the hash of 32 bits %x", k, k.Half(), half)
		}
		if i > 0 && half != before.Half() && (half < before.Half()) != (k < before) {
			t.Fatalf("%x and %x sort in another way than their halves", k, before)
		}
		if other, ok := halves[half]; ok {
			shared++
			t.Logf("%s and %s share %08x", other, text, half)
		}
		halves[half], before = text, k
	}
	if shared == 0 {
		t.Error("no two share a half: the test shows nothing")
	}
}

// What a key can stand for.
func TestWhole(t *testing.T) {
	l := Sorted([]Key{0x2_0000_0005, 0x1_0000_0007, 0x2_0000_0003, 0x2_0000_0003, 0x4_0000_0001})
	if want := (Keys{0x1_0000_0007, 0x2_0000_0003, 0x2_0000_0005, 0x4_0000_0001}); !slices.Equal(l, want) {
		t.Fatalf("sorted: %x", l)
	}
	for k, want := range map[Key]int{
		0x1_0000_0007: 1, 0x1_0000_0008: 0, 0x2_0000_0003: 1, 0x5_0000_0001: 0,
		ShortKey(0): 0, ShortKey(1): 1, ShortKey(2): 2, ShortKey(3): 0, ShortKey(4): 1, ShortKey(5): 0,
	} {
		first, end := l.Whole(k)
		if end-first != want {
			t.Errorf("%x stands for %x, want %d keys", k, l[first:end], want)
		}
		for _, w := range l[first:end] {
			if w != k && w.Half() != k.Half() {
				t.Errorf("%x stands for %x", k, w)
			}
		}
	}
}
