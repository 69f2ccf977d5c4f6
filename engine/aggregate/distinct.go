package aggregate

import (
	"encoding/binary"
	"slices"
	"sort"

	"github.com/zeebo/xxh3"

	"github.com/segmill/segmill/engine/expr"
)

// MaxDistinct is how many values a Distinct keeps before it samples.
const MaxDistinct = 4096

// Seen is one distinct value: its 64-bit hash and the time of its latest event
// (0 in a lifetime set).
type Seen struct {
	At   Millis
	Hash uint64
}

// Distinct is a set of values, exact up to MaxDistinct of them (two values of
// equal 64-bit hash are taken for one). Past that it keeps the values whose hash
// has Level zero bits at its low end and counts each 2^Level times: adaptive
// sampling (Flajolet, "On adaptive sampling", Computing 43, 1990), with a
// standard error of about 1.2/sqrt(MaxDistinct) = 1.9 %.
type Distinct struct {
	// From is the reach: complete for values seen after it.
	From  Millis
	Seen  []Seen // sorted by At, then Hash
	Level uint8
	timed bool
}

// HashValue returns the hash that a value is known by.
func HashValue(v expr.Value) uint64 {
	if v.K == expr.Int { // 3 and 3.0 are equal in rules
		v = expr.DoubleValue(float64(v.N))
	}
	var buf [64]byte
	return xxh3.Hash(AppendValue(buf[:0], v))
}

// Fold adds one value.
func (d *Distinct) Fold(s *Sample) {
	t := s.At
	if !d.timed {
		t = 0
	}
	d.add(Seen{At: t, Hash: HashValue(s.Value)})
	d.fit()
}

func (d *Distinct) add(s Seen) {
	if s.Hash&(1<<d.Level-1) != 0 || s.At <= d.From {
		return
	}
	if i := slices.IndexFunc(d.Seen, func(o Seen) bool { return o.Hash == s.Hash }); i >= 0 {
		if d.Seen[i].At >= s.At {
			return
		}
		d.Seen = slices.Delete(d.Seen, i, i+1)
	}
	i := sort.Search(len(d.Seen), func(i int) bool {
		o := d.Seen[i]
		return o.At > s.At || o.At == s.At && o.Hash > s.Hash
	})
	d.Seen = slices.Insert(d.Seen, i, s)
}

func (d *Distinct) fit() {
	for len(d.Seen) > MaxDistinct {
		d.Squeeze()
	}
}

// Squeeze halves the sample. It returns false if nothing is left to drop.
func (d *Distinct) Squeeze() bool {
	if len(d.Seen) == 0 || d.Level == 63 {
		return false
	}
	d.Level++
	d.Seen = slices.DeleteFunc(d.Seen, func(s Seen) bool { return s.Hash&(1<<d.Level-1) != 0 })
	return true
}

// Coarse reports whether the number of values is an estimate.
func (d *Distinct) Coarse() bool { return d.Level > 0 }

// Merge adds the values of another set; shared events do no harm.
func (d *Distinct) Merge(o Cell, _ []Shared) bool {
	x := o.(*Distinct)
	for more := d.Level < x.Level; more; {
		more = d.Squeeze() && d.Level < x.Level
	}
	d.Level = max(d.Level, x.Level)
	d.prune(max(d.From, x.From))
	for _, s := range x.Seen {
		d.add(s)
	}
	d.fit()
	return true
}

// Prune drops values last seen at or before now - reach.
func (d *Distinct) Prune(now, reach Millis) {
	if d.timed {
		d.prune(max(d.From, now-reach))
	}
}

func (d *Distinct) prune(from Millis) {
	d.From = from
	i := 0
	for i < len(d.Seen) && d.Seen[i].At <= from {
		i++
	}
	d.Seen = slices.Delete(d.Seen, 0, i)
	if len(d.Seen) == 0 {
		d.Level = 0
	}
}

// Compute returns how many values were seen with now - w < t; w 0 means ever.
func (d *Distinct) Compute(_ *Op, _ expr.Kind, now, w Millis) expr.Value {
	return expr.IntValue(int64(len(d.Seen)-d.first(now, w)) << d.Level)
}

func (d *Distinct) first(now, w Millis) int {
	if w == 0 {
		return 0
	}
	return sort.Search(len(d.Seen), func(i int) bool { return d.Seen[i].At > now-w })
}

// Next is List.Next for the number of distinct values.
func (d *Distinct) Next(now, w Millis, r *Range) Millis {
	n := len(d.Seen)
	for i := d.first(now, w); w > 0 && i < n; {
		out := d.Seen[i].At
		for i < n && d.Seen[i].At == out {
			i++
		}
		if !r.Has(expr.IntValue(int64(n-i) << d.Level)) {
			return out + w
		}
	}
	return expr.Never
}

// Append appends reach, level and values.
func (d *Distinct) Append(b []byte, at Millis) []byte {
	b = append(appendReach(b, d.From, at), d.Level)
	b = binary.AppendUvarint(b, uint64(len(d.Seen)))
	var last Millis
	for i, s := range d.Seen {
		switch {
		case !d.timed:
		case i == 0:
			b = appendTime(b, s.At, at)
		default:
			b = binary.AppendUvarint(b, uint64(s.At-last))
		}
		last = s.At
		b = binary.LittleEndian.AppendUint64(b, s.Hash)
	}
	return b
}

func (d *Distinct) decode(r *Reader) {
	d.From = r.reach()
	d.Level = r.Byte()
	n := r.Count(8)
	r.Check(d.Level <= 63)
	if n > 0 {
		d.Seen = make([]Seen, n)
	}
	var last Millis
	for i := range d.Seen {
		switch {
		case !d.timed:
		case i == 0:
			last = r.Time()
		default:
			last += Millis(r.Uvarint())
		}
		d.Seen[i] = Seen{At: last, Hash: r.Uint64()}
		if i > 0 {
			p := d.Seen[i-1]
			r.Check(last > p.At || last == p.At && p.Hash < d.Seen[i].Hash)
		}
	}
}
