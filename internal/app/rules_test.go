package app

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/segmill/segmill/engine/rule"
)

func segment(id string) string {
	return "version: 1\nsegments: [{id: " + id + ", objective: o, owner: w, review_by: 2099-01-01, when: count(web) > 0}]\n"
}

func TestLoadRules(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.yaml"), segment("a"))
	write(t, filepath.Join(dir, "deep/er/b.yml"), segment("b"))
	write(t, filepath.Join(dir, "a_test.yaml"), "no: rule")
	write(t, filepath.Join(dir, "notes.md"), "no rule")
	// As Kubernetes mounts a ConfigMap.
	write(t, filepath.Join(dir, "..2026/c.yaml"), segment("c"))
	for link, to := range map[string]string{"..data": "..2026", "c.yaml": "..data/c.yaml"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	linked := filepath.Join(t.TempDir(), "rules")
	if err := os.Symlink(dir, linked); err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{dir, linked} {
		r, err := LoadRules([]string{root, filepath.Join(root, "a.yaml")})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{filepath.Join(root, "a.yaml"), filepath.Join(root, "c.yaml"), filepath.Join(root, "deep/er/b.yml")}
		if strings.Join(r.Files, " ") != strings.Join(want, " ") {
			t.Errorf("read %v, want %v", r.Files, want)
		}
	}
	// A test is no rule file even if it is named.
	if _, err := LoadRules([]string{filepath.Join(dir, "a_test.yaml")}); err == nil || !strings.Contains(err.Error(), "no *.yaml files") {
		t.Errorf("a_test.yaml: %v", err)
	}
}

func TestLoadRulesErrors(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "twice/a.yaml"), segment("a"))
	write(t, filepath.Join(dir, "twice/b.yaml"), segment("a"))
	write(t, filepath.Join(dir, "empty/notes.md"), "")
	write(t, filepath.Join(dir, "huge/a.yaml"), strings.Repeat("# \n", rule.MaxFileSize))
	for path, want := range map[string]string{
		"twice": `the id "a" is already used in ` + filepath.Join(dir, "twice/a.yaml"),
		"empty": "rules: no *.yaml files in " + filepath.Join(dir, "empty"),
		"huge":  "split it",
		"no":    "rules: stat ",
	} {
		_, err := LoadRules([]string{filepath.Join(dir, path)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", path, err, want)
		}
		var p rule.Problems
		if isProblem := errors.As(err, &p); isProblem != (path == "twice") {
			t.Errorf("%s: %T", path, err)
		}
	}
}

func TestZones(t *testing.T) {
	zones := Zones()
	for name, want := range map[string]bool{"Europe/Paris": true, "UTC": true, "": false, "Local": false, "Mars/Base": false, "../etc/passwd": false} {
		for range 2 {
			if loc, ok := zones(name); ok != want || ok != (loc != nil) {
				t.Errorf("%q: %v %v", name, loc, ok)
			}
		}
	}
}
