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

// code is a piece of code in a document.
var code = regexp.MustCompile("`([^`]+)`")

// rows returns the cells of the tables below a heading of design.md.
func rows(t *testing.T, heading string) (rows [][]string) {
	t.Helper()
	_, text, ok := strings.Cut(read(t, "design.md"), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("design.md has no section %q", heading)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| ---") {
			rows = append(rows, strings.Split(strings.Trim(line, "| "), " | "))
		}
	}
	return rows
}

// TestMapIsComplete: the map names every package, and nothing that is not there.
func TestMapIsComplete(t *testing.T) {
	named := map[string]bool{}
	for _, row := range rows(t, "Map") {
		for _, m := range code.FindAllStringSubmatch(row[0], -1) {
			named[m[1]] = true
			if _, err := os.Stat(filepath.Join("..", m[1])); err != nil {
				t.Errorf("the map in design.md names %s: %v", m[1], err)
			}
		}
	}
	for _, pkg := range packages(t) {
		if !named[pkg] {
			t.Errorf("the map in design.md does not name the package %s", pkg)
		}
	}
}

// packages returns the folders of the module that have Go files, those with build
// tags included.
func packages(t *testing.T) (found []string) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && path != ".."):
			return filepath.SkipDir
		case filepath.Ext(path) == ".go":
			if pkg := filepath.ToSlash(filepath.Dir(path)); !slices.Contains(found, strings.TrimPrefix(pkg, "../")) {
				found = append(found, strings.TrimPrefix(pkg, "../"))
			}
		}
		return nil
	})
	if err != nil || len(found) < 30 {
		t.Fatalf("%d packages: %v", len(found), err)
	}
	return found
}

// TestPathsToTouchExist: every path that design.md says to touch exists, and the
// changes that the project has to make easy are listed.
func TestPathsToTouchExist(t *testing.T) {
	var listed []string
	for _, row := range rows(t, "To change something") {
		if row[0] == "to change" {
			continue
		}
		if len(row) != 3 {
			t.Errorf("a row of %d cells: %v", len(row), row)
			continue
		}
		listed = append(listed, row[0])
		paths := 0
		for _, m := range code.FindAllStringSubmatch(row[2], -1) {
			if !strings.Contains(m[1], "/") && m[1] != "state" && m[1] != "triggers" && m[1] != "schemas" {
				continue // a name in the code
			}
			paths++
			if _, err := os.Stat(filepath.Join("..", m[1])); err != nil {
				t.Errorf("to change %s, design.md says to touch %s: %v", row[0], m[1], err)
			}
		}
		if paths == 0 {
			t.Errorf("to change %s, design.md names no path", row[0])
		}
	}
	for _, change := range []string{
		"an aggregate", "a kind of trigger", "an input stream", "an output format", "a configuration key", "a metric",
		"a command", "the changelog format", "the commit protocol", "a rule of the clock",
	} {
		if !slices.Contains(listed, change) {
			t.Errorf("design.md does not say how to change %s", change)
		}
	}
}
