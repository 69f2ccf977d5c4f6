package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// sentence is a numbered sentence of semantics.md, citation a place that names some.
var (
	sentence  = regexp.MustCompile(`(?m)^\*\*(\d+\.\d+)\*\* `)
	section   = regexp.MustCompile(`(?m)^## (\d+)\. `)
	citation  = regexp.MustCompile(`docs/semantics\.md,\s(?:(?://|#)\s)?(\d[\d., ]*(?: and \d+\.\d+)?)`)
	byNumber  = regexp.MustCompile(`\d+(?:\.\d+)?`)
	uncitable = regexp.MustCompile(`[Ss]ections? \d+ of the semantics|(?m)^(?:// )?(?:Semantics|Sections?) \d`)
)

// TestCitations: every sentence of semantics.md that a comment, a scenario or a
// document cites is there, and nothing cites the meaning in another way.
func TestCitations(t *testing.T) {
	known, last := map[string]bool{}, ""
	text := read(t, "semantics.md")
	for _, m := range section.FindAllStringSubmatch(text, -1) {
		known[m[1]] = true
	}
	for _, m := range sentence.FindAllStringSubmatch(text, -1) {
		if known[m[1]] {
			t.Errorf("semantics.md has two sentences %s", m[1])
		}
		number, _, _ := strings.Cut(m[1], ".")
		if !known[number] || last != "" && !follows(last, m[1]) {
			t.Errorf("semantics.md: %s comes after %q", m[1], last)
		}
		known[m[1]], last = true, m[1]
	}
	n := 0
	for path, text := range files(t, ".go", ".txtar", ".md") {
		if path == "../docs/semantics.md" || path == "../docs/semantics_test.go" {
			continue
		}
		for _, m := range citation.FindAllStringSubmatch(text, -1) {
			n++
			for _, number := range byNumber.FindAllString(m[1], -1) {
				if !known[number] {
					t.Errorf("%s cites docs/semantics.md, %s, which does not exist", path, number)
				}
			}
		}
		if old := uncitable.FindString(text); old != "" {
			t.Errorf("%s: %q: cite a numbered sentence of docs/semantics.md", path, old)
		}
	}
	if n < 30 {
		t.Errorf("only %d citations were found", n)
	}
}

// follows reports whether a sentence's number comes after another one's.
func follows(a, b string) bool {
	as, an, _ := strings.Cut(a, ".")
	bs, bn, _ := strings.Cut(b, ".")
	if as != bs {
		return bn == "1"
	}
	return len(an) < len(bn) || len(an) == len(bn) && an < bn
}

// files returns the files of the repository with one of the extensions, by path.
func files(t *testing.T, extensions ...string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != "..":
			return filepath.SkipDir
		case d.IsDir() || !slices.Contains(extensions, filepath.Ext(path)):
			return nil
		}
		b, err := os.ReadFile(path)
		found[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
