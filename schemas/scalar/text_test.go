package scalar

import (
	"math/big"
	"math/rand"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segmill/segmill/engine/expr"
)

// randomNumber is a number as JSON writes it.
func randomNumber(g *rand.Rand) string {
	digits := func(n int) string {
		var b strings.Builder
		for range n {
			b.WriteByte("00123456789"[g.Intn(11)])
		}
		return b.String()
	}
	s := []string{"", "-"}[g.Intn(2)]
	if g.Intn(4) == 0 {
		s += "0"
	} else {
		s += string("123456789"[g.Intn(9)]) + digits(g.Intn(26))
	}
	if g.Intn(2) == 0 {
		s += "." + digits(1+g.Intn(30))
	}
	if g.Intn(3) == 0 {
		s += []string{"e", "E"}[g.Intn(2)] + []string{"", "-", "+"}[g.Intn(3)] + strconv.Itoa(g.Intn(32))
	}
	return s
}

// An amount is what big arithmetic makes of it, rounded half to even.
func TestDecimalOfNumber(t *testing.T) {
	for seed := range int64(100_000) {
		g := rand.New(rand.NewSource(seed))
		s := randomNumber(g)
		r, ok := new(big.Rat).SetString(s)
		n, isNumber, err := ParseNumber([]byte(s))
		if !ok || !isNumber {
			t.Fatalf("%s: %v, %v", s, ok, isNumber)
		}
		if strings.HasSuffix(s, "31") && strings.ContainsAny(s, "eE") && exponentOf(s) == 31 {
			if err == nil {
				t.Errorf("%s is accepted", s)
			}
			continue
		}
		got, derr := n.Decimal()
		r.Mul(r, big.NewRat(10_000, 1))
		want := HalfToEven(r.Num(), r.Denom())
		if err != nil || want.IsInt64() != (derr == nil) || derr == nil && got != want.Int64() {
			t.Fatalf("%s: %d, %v, %v; want %v", s, got, err, derr, want)
		}
	}
}

func exponentOf(s string) int {
	n, _ := strconv.Atoi(strings.TrimLeft(s[strings.IndexAny(s, "eE")+1:], "+-"))
	return n
}

// A whole number is its digits, however it is written.
func TestAppendWhole(t *testing.T) {
	for seed := range int64(100_000) {
		g := rand.New(rand.NewSource(seed))
		s := randomNumber(g)
		if strings.ContainsAny(s, "eE") && exponentOf(s) > 30 {
			continue
		}
		r, _ := new(big.Rat).SetString(s)
		got, err := AppendWhole([]byte("x"), []byte(s))
		if r.IsInt() != (err == nil) || err == nil && string(got) != "x"+r.Num().String() {
			t.Fatalf("%s: %s, %v; want %v", s, got, err, r)
		}
	}
}

// The text of an Avro decimal is read back as it.
func TestAppendDecimalBytes(t *testing.T) {
	for _, tt := range []struct {
		b     string
		scale int
		want  string
	}{
		{"\x00", 0, "0"},
		{"\x6e", 2, "1.10"},
		{"\x92", 2, "-1.10"},
		{"\x05", 3, "0.005"},
		{"\xfb", 3, "-0.005"},
		{"", 0, "0"},
		{"\x00\xab\x54\xa9\x8c\xeb\x1f\x0a\xd2", 0, "12345678901234567890"},
	} {
		if got := string(AppendDecimalBytes(nil, []byte(tt.b), tt.scale)); got != tt.want {
			t.Errorf("%x: %s, want %s", tt.b, got, tt.want)
		}
	}
}

// Where the clocks of a zone change, a time that they skip is moved, and of two the
// first is taken; any other one is what the clocks showed.
func TestInstantIn(t *testing.T) {
	for _, name := range []string{"Europe/Paris", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu", "UTC"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		g := rand.New(rand.NewSource(1))
		for range 20_000 {
			at := time.Date(2011, 1, 1, 0, g.Intn(3*365*24*60), 0, 0, time.UTC)
			_, offset := at.In(zone).Zone()
			local := at.UnixMilli() + int64(offset)*1000
			got := InstantIn(local, zone)
			if int64(got) > at.UnixMilli() {
				t.Fatalf("%s: %v is shown at %v, and was read as %v", name, time.UnixMilli(local).UTC(), at, got)
			}
			if _, is := got.Time().In(zone).Zone(); int64(got)+int64(is)*1000 != local {
				t.Fatalf("%s: %v, which clocks showed, was read as %v", name, time.UnixMilli(local).UTC(), got)
			}
		}
	}
	paris, _ := time.LoadLocation("Europe/Paris")
	skipped := time.Date(2026, 3, 29, 2, 30, 0, 0, time.UTC).UnixMilli()
	if got := InstantIn(skipped, paris); got != expr.MillisOf(time.Date(2026, 3, 29, 1, 30, 0, 0, time.UTC)) {
		t.Errorf("a time that clocks skip: %v", got)
	}
}
