package broker

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kbin"
)

// rawRecords returns records with the key k as a batch contains them.
func rawRecords(values ...[]byte) []byte {
	var b []byte
	for i, v := range values {
		body := kbin.AppendInt8(nil, 0)          // attributes
		body = kbin.AppendVarint(body, 0)        // timestamp delta
		body = kbin.AppendVarint(body, int32(i)) // offset delta
		body = kbin.AppendVarintBytes(body, []byte("k"))
		body = kbin.AppendVarintBytes(body, v)
		body = kbin.AppendVarint(body, 0) // headers
		b = append(kbin.AppendVarint(b, int32(len(body))), body...)
	}
	return b
}

// Whatever bytes a batch has, looking for its first value ends in a part of them.
func TestFirstValue(t *testing.T) {
	whole := rawRecords([]byte("first"), []byte("second"))
	if got := firstValue(whole); string(got) != "first" {
		t.Errorf("%q", got)
	}
	for i := range whole {
		firstValue(whole[:i])
		for _, b := range []byte{0xff, 0x80, 0x7f, 0xfe} {
			broken := slices.Clone(whole)
			broken[i] = b
			firstValue(broken)
		}
	}
	for _, value := range [][]byte{nil, {}} {
		if got := firstValue(rawRecords(value)); len(got) != 0 {
			t.Errorf("%q", got)
		}
	}
}
