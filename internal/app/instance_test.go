package app

import (
	"os"
	"path/filepath"
	"testing"
)

// An instance keeps its name as long as it keeps its directory.
func TestInstanceID(t *testing.T) {
	dir := t.TempDir()
	a, err := instanceID(filepath.Join(dir, "state"))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := instanceID(filepath.Join(dir, "state") + "/"); err != nil || again != a {
		t.Errorf("%q, then %q, %v", a, again, err)
	}
	if other, err := instanceID(filepath.Join(dir, "other")); err != nil || other == a {
		t.Errorf("two directories have one name %q, %v", other, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "empty.instance"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if id, err := instanceID(filepath.Join(dir, "empty")); err != nil || id == "" {
		t.Errorf("an empty file gives %q, %v", id, err)
	}
}
