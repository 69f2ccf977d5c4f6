package wire

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
	"testing"
)

func TestReader(t *testing.T) {
	var b []byte
	for _, v := range []uint64{0, 0x7f, 0x80, math.MaxUint64} {
		b = binary.AppendUvarint(b, v)
	}
	for _, v := range []int64{0, -1, math.MinInt64, math.MaxInt64} {
		b = binary.AppendVarint(b, v)
	}
	long := strings.Repeat("é", 100)
	b = AppendText(AppendText(b, ""), long)
	b = append(b, 7)
	b = binary.LittleEndian.AppendUint32(b, 1<<31|5)
	b = binary.LittleEndian.AppendUint64(b, 1<<63|5)
	b = binary.BigEndian.AppendUint64(b, 1<<62|5)
	b = append(b, 2, 'a', 'b')
	r := NewReader(b)
	for _, want := range []uint64{0, 0x7f, 0x80, math.MaxUint64} {
		if got := r.Uvarint(); got != want {
			t.Errorf("unsigned %d, want %d", got, want)
		}
	}
	for _, want := range []int64{0, -1, math.MinInt64, math.MaxInt64} {
		if got := r.Varint(); got != want {
			t.Errorf("signed %d, want %d", got, want)
		}
	}
	if a, b := r.Text(), r.TextTo(len(long)); a != "" || b != long {
		t.Errorf("texts %q and %q", a, b)
	}
	if a, b, c, d := r.Byte(), r.Uint32(), r.Uint64(), r.Uint64BE(); a != 7 || b != 1<<31|5 || c != 1<<63|5 || d != 1<<62|5 {
		t.Errorf("numbers %d %d %d %d", a, b, c, d)
	}
	if n := r.Count(1); n != 2 || string(r.Left()) != "ab" || string(r.Take(2)) != "ab" || r.Bad() || !r.Done() {
		t.Errorf("%d items, %q left", n, r.Left())
	}
}

// After the first value that is not there everything is zero.
func TestBadIsSticky(t *testing.T) {
	for name, read := range map[string]func(r *Reader){
		"nothing left":   func(r *Reader) { r.Take(9); r.Byte() },
		"cut off varint": func(r *Reader) { r.Take(8); r.Uvarint() },
		"above limit":    func(r *Reader) { r.UvarintTo(0) },
		"items":          func(r *Reader) { r.Count(9) },
		"text":           func(r *Reader) { r.TextTo(0) },
		"too few bytes":  func(r *Reader) { r.Take(10) },
		"below none":     func(r *Reader) { r.Take(-1) },
		"number":         func(r *Reader) { r.Take(6); r.Uint32() },
		"check":          func(r *Reader) { r.Check(false) },
	} {
		r := NewReader([]byte{1, 2, 3, 4, 5, 6, 7, 8, 0x80})
		read(&r)
		if !r.Bad() || r.Done() || r.Uvarint() != 0 || r.Varint() != 0 || r.Byte() != 0 || r.Text() != "" || r.Uint32() != 0 ||
			r.Uint64() != 0 || r.Uint64BE() != 0 || r.Count(1) != 0 || len(r.Take(0)) != 0 || len(r.Left()) != 0 || r.Done() {
			t.Errorf("%s: not bad, or not zero afterwards", name)
		}
	}
}

func TestAllocatesNothing(t *testing.T) {
	b := AppendText(binary.AppendUvarint(nil, 1<<40), "text")
	buf := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() {
		r := NewReader(b)
		r.Uvarint()
		buf = append(AppendText(buf[:0], "abc"), r.Bytes()...)
		if !r.Done() {
			t.Error("not all was read")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzReader reads any bytes by any program, beside a slow twin that knows only
// encoding/binary.
func FuzzReader(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7}, []byte{0x80, 1, 5, 'a', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{4, 4, 4}, []byte{1, 'a', 0, 3, 'a'})
	f.Fuzz(func(t *testing.T, program, b []byte) {
		r := NewReader(b)
		rest, bad := b, false
		take := func(n uint64) []byte {
			if bad || n > uint64(len(rest)) {
				bad, rest = true, nil
				return nil
			}
			p := rest[:n]
			rest = rest[n:]
			return p
		}
		uvarint := func() uint64 {
			v, n := binary.Uvarint(rest)
			if bad || n <= 0 {
				bad, rest = true, nil
				return 0
			}
			rest = rest[n:]
			return v
		}
		for _, op := range program {
			var ok bool
			switch op % 6 {
			case 0:
				ok = r.Uvarint() == uvarint()
			case 1:
				got, u := r.Varint(), uvarint()
				ok = got == int64(u>>1)^-int64(u&1)
			case 2:
				got, p := r.Byte(), take(1)
				ok = got == 0 && p == nil || p != nil && p[0] == got
			case 3:
				got, p := r.Uint64BE(), take(8)
				ok = got == 0 && p == nil || p != nil && binary.BigEndian.Uint64(p) == got
			case 4:
				ok = bytes.Equal(r.Bytes(), take(uvarint()))
			default:
				got, p := r.Uint32(), take(4)
				ok = got == 0 && p == nil || p != nil && binary.LittleEndian.Uint32(p) == got
			}
			if !ok || r.Bad() != bad || !bytes.Equal(r.Left(), rest) || r.Done() != (!bad && len(rest) == 0) {
				t.Fatalf("program %v over % x: bad %v with %d left, want %v with %d", program, b, r.Bad(), len(r.Left()), bad, len(rest))
			}
		}
	})
}
