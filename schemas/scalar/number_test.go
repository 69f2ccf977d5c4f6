package scalar

import (
	"math"
	"math/big"
	"math/rand"
	"testing"
)

// A double is rounded to four digits, and refused if it is no amount.
func TestMoneyRounding(t *testing.T) {
	for _, tt := range []struct {
		f    float64
		want int64
		err  bool
	}{
		{0.1 + 0.2, 3000, false},
		{19.990000000000002, 199_900, false},
		{-1.00004, -10_000, false},
		{math.NaN(), 0, true},
		{math.Inf(-1), 0, true},
		{1e15, 0, true},
		{9e14, 9e18, false},
	} {
		got, err := decimalOfFloat(tt.f)
		if got != tt.want || (err != nil) != tt.err {
			t.Errorf("%v: %d, %v", tt.f, got, err)
		}
	}
}

func decimalOfFloat(f float64) (int64, error) {
	n, err := NumberOfFloat(f, 64)
	if err != nil {
		return 0, err
	}
	return n.Decimal()
}

func TestDecimalOfBytes(t *testing.T) {
	for seed := range int64(3000) {
		g := rand.New(rand.NewSource(seed))
		b := make([]byte, 1+g.Intn(20))
		g.Read(b)
		if g.Intn(2) == 0 { // small numbers in many bytes
			for i := range b[:len(b)*3/4] {
				b[i] = byte(int8(b[len(b)-1]) >> 7)
			}
		}
		scale := g.Intn(30)
		n := new(big.Int).SetBytes(b)
		if b[0] >= 0x80 {
			n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
		}
		pow := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)
		r := new(big.Rat).Mul(new(big.Rat).SetFrac(n, pow), big.NewRat(10_000, 1))
		got, err := DecimalOfBytes(b, scale)
		want := HalfToEven(r.Num(), r.Denom())
		if fits := want.IsInt64(); fits != (err == nil) || fits && got != want.Int64() {
			t.Fatalf("seed %d: % x scale %d: %d, %v; want %v", seed, b, scale, got, err, want)
		}
	}
}
