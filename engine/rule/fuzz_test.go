package rule

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// FuzzParse: whatever the file holds, Parse ends soon and without panic, and
// names places that exist.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatalf("no files: %v", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, c := range []string{
		"count(web, days(1)) > 3 && !did(email) || since_last(activity) >= days(45)",
		`did(purchase.items.exists(i, i.price > 5)) ? in_segment("s0") : consented("email")`,
		`sum(purchase.revenue, purchase.kind == "refunded", weeks(2)) / count(purchase) > 1.5e3`,
		"profile.traits[\"x\"] in ['a', \"b\"] && web.url.matches('(a|b)*')",
	} {
		f.Add([]byte(one(c)))
		f.Add([]byte("version: 1\ndefine:\n  x: \"" + c + "\"\n  y: >-\n    x\n     + y\n"))
	}
	cat := testCatalog()
	f.Fuzz(func(t *testing.T, data []byte) {
		start := time.Now()
		set, err := Parse([]File{{Name: "f.yaml", Data: data}}, cat, testKinds(), testZones)
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%d bytes took %v", len(data), took)
		}
		var ps Problems
		if err != nil && !errors.As(err, &ps) {
			t.Fatalf("error is a %T", err)
		}
		if set != nil {
			ps = set.Warnings
		}
		lines := 1 + bytes.Count(data, []byte("\n"))
		for _, p := range ps {
			if p.Pos.Line < 1 || p.Pos.Line > lines || p.Pos.Column < 1 || p.Pos.Column > len([]rune(p.Line))+2 {
				t.Errorf("no such place: %v in %q", p, data)
			}
		}
	})
}

// FuzzCondition is FuzzParse with the effort spent on the expression. What is
// printed of a good condition can be read again and is the same.
func FuzzCondition(f *testing.F) {
	for _, c := range []string{
		"count(web, days(1)) > 3 && !did(email) || since_last(activity) >= days(45)",
		`did(purchase.items.exists(i, i.price > 5)) ? in_segment("s0") : consented("email")`,
		`sum(purchase.revenue, purchase.kind == "refunded", weeks(2)) / count(purchase) > 1.5e3`,
		"profile.traits[\"x\"] in ['a', \"b\"] && did(web.url.matches('(a|b)*'))",
		`age(profile.birth_date) < 30 && last(web.name == "x") > timestamp("2026-01-01T00:00:00Z") - duration("1h")`,
	} {
		f.Add(c)
	}
	cat := testCatalog()
	f.Fuzz(func(t *testing.T, text string) {
		// A literal block cannot hold every character.
		for _, c := range text {
			if c < ' ' || c > '~' {
				t.Skip()
			}
		}
		set, err := Parse([]File{{Name: "f.yaml", Data: []byte(one(text))}}, cat, testKinds(), testZones)
		if err != nil {
			return
		}
		if err := compiles(set.Spec); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		printed := when(set.Spec)
		set, err = Parse([]File{{Name: "f.yaml", Data: []byte(one(printed))}}, cat, testKinds(), testZones)
		if err != nil {
			t.Fatalf("%s\nprinted as %s\n%v", text, printed, err)
		}
		if again := when(set.Spec); again != printed {
			t.Errorf("%s\nprinted as %s\nread as    %s", text, printed, again)
		}
	})
}
