package frame

import (
	"bytes"
	"math/rand"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/segmill/segmill/engine/expr"
)

func TestIsPlain(t *testing.T) {
	for n := range 40 {
		b := []byte(strings.Repeat("\x01a\x7f~", n)[:n])
		if !IsPlain(b) {
			t.Errorf("%q is plain", b)
		}
		for i := range b {
			for _, c := range []byte{0, 0x80, 0x81, 0xff} {
				was := b[i]
				b[i] = c
				if IsPlain(b) {
					t.Errorf("%q is not plain", b)
				}
				b[i] = was
			}
		}
	}
	for seed := range int64(10_000) {
		g := rand.New(rand.NewSource(seed))
		b := make([]byte, g.Intn(24))
		for i := range b {
			b[i] = []byte{0, 1, 0x7f, 0x80, 0xff, 'a', 'b', 'c', 'd', 'e'}[g.Intn(10)]
		}
		want := utf8.Valid(b) && !strings.ContainsFunc(string(b), func(r rune) bool { return r == 0 || r >= 0x80 })
		if IsPlain(b) != want {
			t.Errorf("seed %d: %q plain %v", seed, b, !want)
		}
	}
}

// A short string is read in the same way wherever it is in the record and
// whatever follows it.
func TestTakePlain(t *testing.T) {
	for n := range 12 {
		for more := range 10 {
			for i := -1; i < n; i++ {
				for _, c := range []byte{0, 1, 0x7f, 0x80, 0xff} {
					b := bytes.Repeat([]byte{'a'}, n+more)
					for j := range b[n:] {
						b[n+j] = []byte{0, 0xff, 1}[j%3]
					}
					if i >= 0 {
						b[i] = c
					}
					f := &Frame{maxID: 10, buf: append(make([]byte, 0, 3+more), "x"...)}
					var v Cell
					got := f.TakePlain(&v, b, n)
					if want := n > 0 && n < f.maxID && IsPlain(b[:n]); got != want {
						t.Fatalf("%q, %d bytes: taken %v, want %v", b, n, got, want)
					}
					if from, size := unspan(v.N); got && (v.K != expr.String || string(f.buf) != "x"+string(b[:n]) || from != 1 || size != n) {
						t.Fatalf("%q, %d bytes: %q, %v", b, n, f.buf, v)
					}
				}
			}
		}
	}
}
