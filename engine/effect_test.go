package engine

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/rand"
	"strings"
	"testing"
)

// What an effect's id is made of, written down apart from AppendID.
func TestID(t *testing.T) {
	g := rand.New(rand.NewSource(1))
	text := func() string { return strings.Repeat("ü", g.Intn(3)*g.Intn(70)) }
	for range 300 {
		e := &Effect{
			Action: Action(1 + g.Intn(int(Renamed))), Customer: "c" + text(), Name: text(), From: text(), At: Millis(g.Int63n(4e12) - 1e12),
			Sequence: g.Uint64() >> g.Intn(64), CauseEvent: text(), Erasure: text(), Known: g.Intn(2) == 0, Message: &Message{Due: Millis(g.Int63n(4e12)), AnchorID: text()},
		}
		var in []byte
		add := func(s string) { in = append(binary.AppendUvarint(in, uint64(len(s))), s...) }
		add("shop")
		add(e.Customer)
		add(e.Name)
		in = binary.AppendUvarint(append(in, byte(e.Action)), e.Sequence)
		if e.Action == Fired {
			in = binary.AppendVarint(in, int64(e.Due))
			add(e.AnchorID)
		} else {
			in = binary.AppendVarint(in, int64(e.At))
			add(e.CauseEvent)
		}
		if e.Action == Erased && !e.Known {
			in = append(in, 1)
		}
		if e.Action == Renamed {
			add(e.From)
		}
		if e.Erasure != "" {
			add(e.Erasure)
		}
		sum := sha256.Sum256(in)
		if got, want := string(e.AppendID([]byte("x"), "shop")), "x"+hex.EncodeToString(sum[:16]); got != want {
			t.Fatalf("%+v: id %s, want %s", e, got, want)
		}
	}
}

// An id never changes: changes that are computed again would be emitted twice.
func TestIDStays(t *testing.T) {
	e := &Effect{Action: Entered, Customer: "c1", Name: "loyal", At: 1_700_000_000_000, Sequence: 1, CauseEvent: "e1"}
	if got, want := e.ID("shop"), "dadd5e53cea996b446be4f477b48c616"; got != want {
		t.Errorf("id %s, want %s", got, want)
	}
	// The receipt of version 0.1.0 did not say whether the customer was known.
	e = &Effect{Action: Erased, Customer: "c1", At: 1_700_000_000_000, Known: true}
	if got, want := e.ID("shop"), "77093489fcc06197caa6901c8eb49235"; got != want {
		t.Errorf("id %s, want %s", got, want)
	}
	if e.Known = false; e.ID("shop") == "77093489fcc06197caa6901c8eb49235" {
		t.Error("two receipts that say different things have one id")
	}
	e = &Effect{Action: Erased, Customer: "c1", At: 1_700_000_000_000, Known: true, Erasure: "profile/3@17"}
	if got, want := e.ID("shop"), "db2b831dd3cca262639eb80931155bb9"; got != want {
		t.Errorf("id %s, want %s", got, want)
	}
}
