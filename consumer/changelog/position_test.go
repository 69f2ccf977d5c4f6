package changelog

import (
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/segmill/segmill/state"
)

var update = flag.Bool("update", false, "write golden files")

func examplePosition() *Position {
	return &Position{
		App: "shop", Partitions: 12, Seq: 99, Clock: 1_767_225_600_000, Latest: 1_767_225_602_000,
		Digest: state.Digest{Hi: 1 << 63, Lo: 7}, Folded: 1000, DeadLetters: 3, Forwarded: 2, Rules: [16]byte{1, 15: 2},
		Sources: map[string]Source{"web": {Next: 700, Seen: 1_767_225_601_000}, "email": {Next: 0, Seen: Never}},
		Turn:    Turn{Sweeping: true, After: "email"}, Rebuilding: true,
	}
}

// The bytes of earlier versions must stay readable: golden files are added, never
// changed.
func TestPositionGolden(t *testing.T) {
	file := filepath.Join("testdata", "position-1.hex")
	if *update {
		if err := os.WriteFile(file, []byte(hex.EncodeToString(examplePosition().Append(nil))+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodePosition(b)
	if err != nil {
		t.Fatal(err)
	}
	compareTurn := gocmp.AllowUnexported(Turn{})
	if diff := gocmp.Diff(examplePosition(), got, compareTurn); diff != "" {
		t.Error(diff)
	}
	if again := got.Append(nil); string(again) != string(b) {
		t.Errorf("written again: %x, want %x", again, b)
	}
	for n := range b {
		if _, err := DecodePosition(b[:n]); err == nil {
			t.Errorf("the first %d bytes of %d are a position", n, len(b))
		}
	}
}

// A position with ids of topics is the one without them and the ids.
func TestPositionTopicIDs(t *testing.T) {
	before := examplePosition()
	p := examplePosition()
	p.Sources["web"] = Source{Next: 700, Seen: 1_767_225_601_000, ID: TopicID{1, 15: 16}}
	b, plain := p.Append(nil), before.Append(nil)
	if len(b) != len(plain)+len(p.Sources)*16 || b[1] != plain[1]|flagTopicIDs || string(b[2:len(plain)]) != string(plain[2:]) {
		t.Errorf("%x, without ids %x", b, plain)
	}
	got, err := DecodePosition(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(p, got, gocmp.AllowUnexported(Turn{})); diff != "" {
		t.Error(diff)
	}
	for n := range b {
		if _, err := DecodePosition(b[:n]); err == nil {
			t.Errorf("the first %d bytes of %d are a position", n, len(b))
		}
	}
}

func FuzzPosition(f *testing.F) {
	f.Add(examplePosition().Append(nil))
	f.Add((&Position{Sources: map[string]Source{"a": {ID: TopicID{1}}, "b": {}}}).Append(nil))
	f.Add((&Position{}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := DecodePosition(b)
		if err != nil {
			return
		}
		again, err := DecodePosition(p.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(p, again, gocmp.AllowUnexported(Turn{})); diff != "" {
			t.Error(diff)
		}
	})
}

func FuzzVersions(f *testing.F) {
	v := Versions{Hashes: map[string]string{"a": "1", "trigger:b": "2"}, Former: map[string]string{"c": "3"}}
	f.Add(v.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := DecodeVersions(b)
		if err != nil {
			return
		}
		again, err := DecodeVersions(v.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(v, again); diff != "" {
			t.Error(diff)
		}
	})
}
