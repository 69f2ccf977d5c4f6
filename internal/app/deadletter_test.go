package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The key of dead letters is the content of a file beside the configuration, all of
// it; a file without one is an error, and so is a key that is of no use.
func TestDeadLetterKey(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	write("key", "a key\n")
	write("empty", "")
	write("long", strings.Repeat("x", maxKeyFile+1))
	if err := os.Symlink("key", filepath.Join(dir, "link")); err != nil { // as Kubernetes mounts a secret
		t.Fatal(err)
	}
	read := func(deadLetter string) (*Config, error) {
		return ReadConfig(write("segmill.yaml", "app: shop\nrules: [r.yaml]\nkafka: {brokers: [a]}\ndead_letter: "+deadLetter+"\n"))
	}
	for file, want := range map[string]string{
		"key": "", "link": "", "empty": "head -c 32 /dev/urandom > " + filepath.Join(dir, "empty"), "long": "more than 65536 bytes", "nowhere": "no such file", "/dev/zero": "a device",
	} {
		c, err := read("{payload: hash, key_file: " + file + "}")
		if err != nil {
			t.Fatal(err)
		}
		key, err := c.DeadLetter.key()
		if want == "" && (err != nil || string(key) != "a key\n") {
			t.Errorf("%s: %q, %v", file, key, err)
		}
		if want != "" && (err == nil || !strings.HasPrefix(err.Error(), "dead_letter.key_file: ") || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %s", file, err, want)
		}
	}
	if _, err := read("{key_file: key}"); err == nil || !strings.Contains(err.Error(), "segmill.yaml:4: dead_letter.key_file: requires `payload: hash`") {
		t.Errorf("a key for nothing: %v", err)
	}
}
