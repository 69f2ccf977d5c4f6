// Package starter has the folder that a new project starts from: rules with a test, a
// configuration, a file of events, and the schemas that editors check these files by.
//
// The one rule it keeps: it overwrites nothing.
package starter

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/segmill/segmill/internal/editor"
)

//go:embed files
var files embed.FS

// Contents returns the files by their names, with slashes. Its rules are to be looked at
// again a year after today.
func Contents(today time.Time) (map[string]string, error) {
	m := map[string]string{}
	err := fs.WalkDir(files, "files", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := files.ReadFile(name)
		m[strings.TrimPrefix(name, "files/")] = strings.ReplaceAll(string(b), "2099-12-31", today.AddDate(1, 0, 0).Format(time.DateOnly))
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, name := range editor.Names() {
		if m[path.Join("schemas", name+".schema.json")], err = editor.Schema(name); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Write writes the folder to dir, which is created if it does not exist. If one of the
// files is there already, nothing is written.
func Write(dir string, today time.Time) (names []string, err error) {
	all, err := Contents(today)
	if err != nil {
		return nil, err
	}
	for name := range all {
		to := filepath.Join(dir, filepath.FromSlash(name))
		if _, err := os.Lstat(to); err == nil {
			return nil, fmt.Errorf("%s exists already: choose another directory", to)
		}
		names = append(names, name)
	}
	for name, text := range all {
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
			return nil, err
		}
		if err := write(to, text); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// write creates a file that does not exist.
func write(to, text string) error {
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(text); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
