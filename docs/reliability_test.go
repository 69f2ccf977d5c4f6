package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestNamedTestsExist: every test that reliability.md names is there.
func TestNamedTestsExist(t *testing.T) {
	source := sources(t, "..")
	named := regexp.MustCompile("`(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(read(t, "reliability.md"), -1)
	if len(named) < 50 {
		t.Errorf("only %d tests are named", len(named))
	}
	for _, n := range named {
		if !strings.Contains(source, "func "+n[1]+"(") {
			t.Errorf("there is no %s", n[1])
		}
	}
}

// TestRowsOfRealBrokers: the faults that can be made on real brokers are made there,
// by tests of internal/brokers.
func TestRowsOfRealBrokers(t *testing.T) {
	source := sources(t, "../internal/brokers")
	rows := map[string]bool{}
	for line := range strings.Lines(read(t, "reliability.md")) {
		_, tests, ok := strings.Cut(line, "*brokers*: ")
		if !ok || !strings.HasPrefix(line, "|") {
			continue
		}
		cells := strings.Split(line, " | ")
		rows[strings.Trim(cells[0], "| ")] = true
		if !strings.HasSuffix(cells[2], "5") {
			t.Errorf("row %s names tests on real brokers, and layer %s", cells[0], cells[2])
		}
		for _, n := range regexp.MustCompile("`(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(tests, -1) {
			if !strings.Contains(source, "func "+n[1]+"(") {
				t.Errorf("row %s: internal/brokers has no %s", cells[0], n[1])
			}
		}
	}
	for _, n := range []string{"2", "4", "7", "8", "9", "10", "11", "12", "13", "14", "18", "20", "21", "22", "24", "25"} {
		if !rows[n] {
			t.Errorf("row %s names no test on real brokers", n)
		}
	}
}

// sources returns the source of all tests below a folder.
func sources(t *testing.T, root string) string {
	t.Helper()
	var source strings.Builder
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		source.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return source.String()
}
