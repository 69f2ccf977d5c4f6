package tools

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// What could not be installed as a whole is not there, and is tried again.
func TestAllOrNothing(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	failed := errors.New("half way")
	tries := 0
	fill := func(err error) func(string) error {
		return func(dir string) error {
			tries++
			return errors.Join(os.WriteFile(filepath.Join(dir, "part"), nil, 0o600), err)
		}
	}
	if _, err := install("x", []byte("a"), fill(failed)); !errors.Is(err, failed) {
		t.Fatalf("got %v", err)
	}
	first, err := install("x", []byte("a"), fill(nil))
	if err != nil {
		t.Fatal(err)
	}
	again, err := install("x", []byte("a"), fill(failed))
	if err != nil || again != first || tries != 2 {
		t.Errorf("the second time: %q, %v after %d tries; the first %q", again, err, tries, first)
	}
	other, err := install("x", []byte("b"), fill(nil))
	if err != nil || other == first {
		t.Errorf("another text: %q, %v", other, err)
	}
	left, err := os.ReadDir(filepath.Dir(first))
	if err != nil || len(left) != 2 {
		t.Errorf("the cache has %v, %v; want two folders", left, err)
	}
}
