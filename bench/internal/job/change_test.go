package job

import (
	"testing"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/schemas"
)

// Both forms of a change are read as the same one.
func TestReadChange(t *testing.T) {
	enc, err := schemas.NewEncoder(schemas.Avro, "app", schemas.IDs{Change: 3, Trigger: 4})
	if err != nil {
		t.Fatal(err)
	}
	for _, action := range []engine.Action{engine.Entered, engine.Exited} {
		ef := engine.Effect{Action: action, Customer: "c0000017", Name: "big", At: Start + 5, Sequence: 300, Version: "v", Cause: engine.CauseTimer}
		var m schemas.Output
		enc.Append(nil, &m, &ef, Start+9)
		var a, b Change
		if err := ReadChange(m.Value, &a); err != nil {
			t.Fatal(err)
		}
		want := Change{Customer: []byte("c0000017"), Segment: []byte("big"), Entered: action == engine.Entered, At: Start + 5, Sequence: 300}
		x := AppendChange(make([]byte, idBytes), &want)
		if err := ReadExact(append(x, 1, 'e'), &b); err != nil {
			t.Fatal(err)
		}
		var ha, hb, hw Hash
		ha.AddChange(&a)
		hb.AddChange(&b)
		hw.AddChange(&want)
		if ha.String() != hw.String() || hb.String() != hw.String() {
			t.Errorf("%v: read %+v and %+v", action, a, b)
		}
	}
	if ReadChange([]byte{0, 0, 0, 0, 3, 9}, &Change{}) == nil || ReadExact(make([]byte, 17), &Change{}) == nil {
		t.Error("half a change is taken for one")
	}
}

// The hash does not depend on the order, but on everything else.
func TestHash(t *testing.T) {
	base := Change{Customer: []byte("a"), Segment: []byte("bc"), Entered: true, At: 5, Sequence: 1}
	sum := func(l ...Change) string {
		var h Hash
		for i := range l {
			h.AddChange(&l[i])
		}
		return h.String()
	}
	other := []Change{base, base, base, base, base}
	other[0].Customer, other[1].Segment, other[2].Entered, other[3].At, other[4].Sequence = []byte("ab"), []byte("c"), false, 6, 2
	if sum(base, other[0]) != sum(other[0], base) {
		t.Error("the order matters")
	}
	for _, o := range other {
		if sum(base) == sum(o) {
			t.Errorf("%+v and %+v have one hash", base, o)
		}
	}
	if sum(base) == sum(base, base) {
		t.Error("a repeat is not seen")
	}
}
