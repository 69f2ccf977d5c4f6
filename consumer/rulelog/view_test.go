package rulelog

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// records returns the values of two writings of a first set that mingle, and of the next set.
func records(t testing.TB) (values [][]byte) {
	t.Helper()
	for i, base := range []uint64{0, 0, 1} {
		d := Draft{Base: base, Who: "anna", Why: "why", At: 5, Versions: [16]byte{1}, Files: []File{{Name: "a.yaml", Text: []byte{'a', byte(i)}}}}
		stored, err := d.append(nil)
		if err != nil {
			t.Fatal(err)
		}
		half := len(stored) / 2
		for n, data := range [][]byte{stored[:half], stored[half:]} {
			values = append(values, (&part{id: writeID{byte(i)}, base: base, index: n, count: 2, data: data}).append(nil))
		}
	}
	values[1], values[2] = values[2], values[1]
	return values
}

// golden is a set in the first format, a record of one part.
func golden(t testing.TB) []byte {
	t.Helper()
	file := filepath.Join("testdata", "record-1.hex")
	if os.Getenv("UPDATE") != "" {
		d := Draft{
			Base: 0, Who: "anna@laptop", Why: "the first rules", At: 1_767_225_600_000, AcceptLoss: true, Versions: [16]byte{1, 2, 3},
			Files: []File{{Name: "a.yaml", Text: []byte("version: 1\n")}, {Name: "b/c.yaml"}},
		}
		stored, err := d.append(nil)
		if err != nil {
			t.Fatal(err)
		}
		b := (&part{id: writeID{7, 8, 9}, count: 1, data: stored}).append(nil)
		if err := os.WriteFile(file, []byte(hex.EncodeToString(b)+"\n"), 0o600); err != nil {
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
	return b
}

// What earlier versions wrote stays readable. The file is not written again: how texts are
// compressed may change.
func TestGolden(t *testing.T) {
	v := &View{}
	e, err := v.take(3, golden(t))
	if err != nil || e == nil {
		t.Fatal(e, err)
	}
	if e.String() != "set 1 by anna@laptop at 2026-01-01T00:00:00.000Z (the first rules)" || e.Offset != 3 || !e.AcceptLoss || e.Versions != [16]byte{1, 2, 3} {
		t.Error(e)
	}
	files, err := e.Files()
	if err != nil || len(files) != 2 || files[0].Name != "a.yaml" || string(files[0].Text) != "version: 1\n" || files[1].Name != "b/c.yaml" || len(files[1].Text) != 0 {
		t.Error(files, err)
	}
}

// FuzzTake: whatever is in the log, a reader neither panics nor counts what was not written
// whole, and two readers agree.
func FuzzTake(f *testing.F) {
	var all []byte
	for _, v := range records(f) {
		f.Add(v)
		all = append(append(all, v...), 0xff, 0xff)
	}
	f.Add(all)
	f.Add(golden(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		var views [2]View
		for n := range views {
			v := &views[n]
			for i, value := range bytes.Split(b, []byte{0xff, 0xff}) {
				before := v.Number()
				e, err := v.take(int64(i), value)
				if err != nil {
					break
				}
				if e == nil {
					continue
				}
				if files, err := e.Files(); err != nil || Content(files) != e.Content {
					t.Fatal(err)
				}
				if e.Number != before+1 || e.Base != before || v.Newest() != e || v.Next != int64(i)+1 || len(v.open) != 0 {
					t.Fatalf("%+v", e)
				}
			}
		}
		if a, b := views[0], views[1]; a.Number() != b.Number() || a.Next != b.Next {
			t.Fatal("two readers differ")
		}
	})
}

// Of two sets that replace the same one, that counts which is whole first.
func TestFirstWholeCounts(t *testing.T) {
	v := &View{}
	for i, value := range records(t) {
		e, err := v.take(int64(i), value)
		if err != nil {
			t.Fatal(err)
		}
		if counts := i == 2 || i == 5; (e != nil) != counts {
			t.Errorf("record %d: %v", i, e)
		}
	}
	if v.Number() != 2 || v.Entries[0].id != (writeID{0}) || v.Entries[1].Offset != 5 {
		t.Errorf("%+v", v)
	}
}
