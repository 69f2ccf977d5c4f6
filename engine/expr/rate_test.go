package expr

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// A rate is a decimal number above 0, and is written as short as it can be.
func TestParseRate(t *testing.T) {
	for text, want := range map[string]string{
		"0.92": "0.92", "1": "1", "1.50": "1.5", "0.0000000001": "0.0000000001", "1000000": "1000000", "012": "12",
		"0": "", "0.0": "", "-1": "", "+1": "", ".5": "", "1.": "", "1e3": "", "1,5": "", "1000000.1": "", "0.00000000001": "", "": "",
	} {
		r, ok := ParseRate(text)
		if ok != (want != "") || ok && r.String() != want {
			t.Errorf("%s: %v %v, want %q", text, r, ok, want)
		}
	}
}

// An amount times a rate is rounded half to even, or out of range.
func TestRateOf(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	one := big.NewInt(int64(rateOne))
	for i := range 20_000 {
		n := rnd.Int64() >> rnd.IntN(63)
		switch i % 20 {
		case 0:
			n = math.MinInt64
		case 1:
			n = math.MaxInt64
		}
		if i%2 == 0 {
			n = -n
		}
		r := Rate(1 + rnd.Int64N(int64(MaxRate))>>rnd.IntN(50))
		if i%3 == 0 {
			r = rateOne / 2 // many halves
		}
		exact := new(big.Rat).SetFrac(new(big.Int).Mul(big.NewInt(n), big.NewInt(int64(r))), one)
		got, ok := r.Of(n)
		below := new(big.Int).Div(exact.Num(), exact.Denom()) // towards the lesser
		rest := new(big.Rat).Sub(exact, new(big.Rat).SetInt(below)).Cmp(big.NewRat(1, 2))
		if rest > 0 || rest == 0 && below.Bit(0) == 1 {
			below.Add(below, big.NewInt(1))
		}
		fits := below.IsInt64() && below.Int64() != math.MinInt64
		if ok != fits || ok && got != below.Int64() {
			t.Fatalf("%d * %v is %d %v, want %v", n, r, got, ok, below)
		}
	}
}
