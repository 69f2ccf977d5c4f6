package erasure

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A file is read as editors and spreadsheets write it; if a line is plainly no id,
// there are none.
func TestFilesOfIDs(t *testing.T) {
	name := filepath.Join(t.TempDir(), "ids.txt")
	read := func(text string, l IDs) ([]string, error) {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return l.ReadFile(t.Context(), nil, name)
	}
	for text, want := range map[string][]string{
		"c1\nc2\n":                {"c1", "c2"},
		"\ufeffc1\r\n\r\nc2":      {"c1", "c2"},
		"O'Brien\nanon:x y\n42\n": {"O'Brien", "anon:x y", "42"},
		"":                        nil,
		"\ufeff":                  nil,
	} {
		if ids, err := read(text, IDs{}); err != nil || !slices.Equal(ids, want) {
			t.Errorf("%q: %q, %v", text, ids, err)
		}
	}
	for line, want := range map[string]string{
		"c1 ": "white space", " c1": "white space", "\tc1": "white space", "  ": "white space", "\u00a0c1": "white space",
		`"c1"`: "quotes", "'c1'": "quotes", `"c1`: "quotes", `{"id":"c1"}`: "structure", "c1,x": "columns", "c1;x": "columns", "c1\tx": "control",
		"\ufeffc1": "byte order mark", "\xff\xfec\x001\x00": "not text", strings.Repeat("x", 1025): "1025 bytes", "c1\rc2": "control",
	} {
		ids, err := read("c0\n"+line+"\nc2\n", IDs{})
		if err == nil || len(ids) > 0 || !strings.Contains(err.Error(), "ids.txt:2: ") || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), "1 line of 3 rejected; nothing was erased") {
			t.Errorf("%q: %q, %v", line, ids, err)
		}
	}
	if ids, err := read("c1 \n\"c2\"\na,b\n", IDs{Literal: true}); err != nil || !slices.Equal(ids, []string{"c1 ", `"c2"`, "a,b"}) {
		t.Errorf("literally: %q, %v", ids, err)
	}
	if _, err := read(strings.Repeat("a,b\n", 1000), IDs{}); err == nil || strings.Count(err.Error(), "\n") != maxBadLines {
		t.Errorf("a table of 1,000 lines: %v", err)
	}
}

// Standard input that says nothing ends with the command, and what is no file is
// not waited for.
func TestEndlessIDs(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{pipe, "/dev/zero", dir} {
		if _, err := (IDs{}).ReadFile(t.Context(), nil, name); err == nil || !strings.Contains(err.Error(), "not a file (standard input is --file -)") {
			t.Errorf("%s: %v", name, err)
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := (IDs{}).ReadFile(ctx, r, "-"); done <- err }()
	if _, err := w.WriteString("c1\n"); err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("it does not end")
	}
}
