package app

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// instanceID returns the name of this instance in the consumer group: made once
// and kept beside the state directory, which only one process can have open. So
// a process that was killed is known when it comes back with its disk.
func instanceID(stateDir string) (string, error) {
	file := filepath.Clean(stateDir) + ".instance"
	b, err := os.ReadFile(file)
	if id := strings.TrimSpace(string(b)); err == nil && id != "" {
		return id, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	id := "segmill-" + rand.Text()
	return id, os.WriteFile(file, []byte(id+"\n"), 0o600)
}
