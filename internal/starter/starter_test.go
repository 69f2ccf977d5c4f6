package starter

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestOverwritesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shop")
	names, err := Write(dir, time.Date(2026, 2, 28, 0, 0, 0, 0, time.UTC))
	if err != nil || len(names) < 7 {
		t.Fatal(names, err)
	}
	if _, err := Write(dir, time.Now()); err == nil {
		t.Error("it wrote where its files are")
	}
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "segmill.yaml"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(other, time.Now()); err == nil {
		t.Error("it wrote beside a file of that name")
	}
	entries, err := os.ReadDir(other)
	if err != nil || len(entries) != 1 {
		t.Errorf("it left %v, %v", entries, err)
	}
}
