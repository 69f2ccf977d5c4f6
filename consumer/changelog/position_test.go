package changelog

import (
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/ruleset"
	"github.com/segmill/segmill/state"
)

var update = flag.Bool("update", false, "write golden files")

func examplePosition() *Position {
	return &Position{
		App: "shop", Partitions: 12, Seq: 99, Clock: 1_767_225_600_000, Latest: 1_767_225_602_000,
		Digest: state.Digest{Hi: 1 << 63, Lo: 7}, Folded: 1000, DeadLetters: 3, Forwarded: 2, Rules: [16]byte{1, 15: 2},
		Sources: map[Input]Source{{Topic: "web"}: {Next: 700, Seen: 1_767_225_601_000}, {Topic: "email"}: {Next: 0, Seen: Never}},
		Turn:    Turn{Sweeping: true, After: Input{Topic: "email"}}, Rebuilding: true,
	}
}

// unevenPosition is one of a task that reads other partitions than its own.
func unevenPosition() *Position {
	p := examplePosition()
	p.Sources[InputOf("web", 7, 3)] = Source{Next: 5, Seen: 1_767_225_600_500, ID: TopicID{2}}
	p.Sources[InputOf("web", 11, 3)] = Source{Next: 0, Seen: Never}
	p.Sources[Input{Topic: "late"}] = Source{First: 300, Next: 310, Seen: 1_767_225_600_700}
	p.Turn.After = InputOf("web", 7, 3)
	return p
}

// The bytes of earlier versions must stay readable: golden files are added, never
// changed.
func TestPositionGolden(t *testing.T) {
	for file, example := range map[string]*Position{"position-1.hex": examplePosition(), "position-2.hex": unevenPosition()} {
		t.Run(file, func(t *testing.T) { judgeGolden(t, filepath.Join("testdata", file), example) })
	}
}

func judgeGolden(t *testing.T, file string, example *Position) {
	if *update {
		if err := os.WriteFile(file, []byte(hex.EncodeToString(example.Append(nil))+"\n"), 0o600); err != nil {
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
	if diff := gocmp.Diff(example, got); diff != "" {
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

// A partition is the task's own, or another one; both ways lead back.
func TestInputOf(t *testing.T) {
	for task := range int32(4) {
		for p := range int32(9) {
			in := InputOf("t", p, task)
			if in.Partition(task) != p || (in == Input{Topic: "t"}) != (p == task) {
				t.Errorf("partition %d of task %d: %+v", p, task, in)
			}
		}
	}
}

// A position with ids of topics is the one without them and the ids.
func TestPositionTopicIDs(t *testing.T) {
	before := examplePosition()
	p := examplePosition()
	p.Sources[Input{Topic: "web"}] = Source{Next: 700, Seen: 1_767_225_601_000, ID: TopicID{1, 15: 16}}
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
	f.Add((&Position{Sources: map[Input]Source{{Topic: "a"}: {ID: TopicID{1}}, {Topic: "b"}: {}}}).Append(nil))
	f.Add((&Position{}).Append(nil))
	f.Add(unevenPosition().Append(nil))
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

// A set that is replaced is past, once, and one that comes back is not past any more.
func TestReplaced(t *testing.T) {
	a, b := map[string]string{"a": "1"}, map[string]string{"b": "1"}
	v := Versions{Hashes: a}
	v = Versions{Hashes: b, Past: v.Replaced(HashVersions(b))}
	if diff := gocmp.Diff([][16]byte{HashVersions(a)}, v.Past); diff != "" {
		t.Error(diff)
	}
	if diff := gocmp.Diff(v.Past, v.Replaced(HashVersions(b))); diff != "" {
		t.Errorf("replaced by itself: %s", diff)
	}
	v = Versions{Hashes: a, Past: v.Replaced(HashVersions(a))}
	if diff := gocmp.Diff([][16]byte{HashVersions(b)}, v.Past); diff != "" {
		t.Error(diff)
	}
	for i := range 2 * MostPast {
		next := map[string]string{"c": string(rune('a' + i))}
		v = Versions{Hashes: next, Past: v.Replaced(HashVersions(next))}
	}
	if len(v.Past) != MostPast {
		t.Errorf("%d sets are remembered", len(v.Past))
	}
}

func FuzzVersions(f *testing.F) {
	v := Versions{Hashes: map[string]string{"a": "1", "trigger:b": "2"}, Former: map[string]string{"c": "3"}}
	f.Add(v.Append(nil))
	v.Kept, v.Forgets = &ruleset.Set{Rules: map[string]uint64{"a": 7}, Facts: map[uint64]engine.Millis{9: 0, 3: 86_400_000}}, true
	v.Past = [][16]byte{{1}, {2}}
	f.Add(v.Append(nil))
	v.Renamed = []ruleset.Renaming{{Mark: 2, To: ruleset.Renames{"a": "b", "trigger:c": "trigger:d"}}, {Mark: 4, To: ruleset.Renames{"b": "e"}}}
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

// Versions that a later version of the program has written are said to be that.
func TestLaterVersions(t *testing.T) {
	_, err := DecodeVersions([]byte{9, 0, 0})
	if err == nil || !strings.HasSuffix(err.Error(), "its format is 9, and this version reads 1 to 3: use the version that wrote it, or a later one") {
		t.Error(err)
	}
}
