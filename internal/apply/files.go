package apply

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/segmill/segmill/consumer/rulelog"
)

// Log returns the sets as a text for people, the newest first.
func (s *Session) Log() []string {
	rows := [][]string{{"SET", "AT", "WHO", "WHY"}}
	for n := s.View.Number(); n > 0; n-- {
		e := s.View.Set(n)
		rows = append(rows, []string{fmt.Sprint(e.Number), e.At.String(), e.Who, e.Why})
	}
	return table(rows)
}

// Logged is a set as JSON has it.
type Logged struct {
	Set      uint64 `json:"set"`
	Replaces uint64 `json:"replaces"`
	At       string `json:"at"`
	Who      string `json:"who"`
	Why      string `json:"why"`
	Content  string `json:"content"`
	// AcceptLoss says that facts might be lost by it.
	AcceptLoss bool `json:"accept_loss"`
}

// JSON returns the sets, the oldest first.
func (s *Session) JSON() []Logged {
	l := []Logged{}
	for i := range s.View.Entries {
		e := &s.View.Entries[i]
		l = append(l, Logged{e.Number, e.Base, e.At.String(), e.Who, e.Why, fmt.Sprintf("%x", e.Content), e.AcceptLoss})
	}
	return l
}

// Show writes a set and its files as one text.
func Show(e *rulelog.Entry, to io.Writer) error {
	files, err := e.Files()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(to, "%s, replaces set %d\n", e, e.Base)
	for _, f := range files {
		end := ""
		if n := len(f.Text); n > 0 && f.Text[n-1] != '\n' {
			end = "\n"
		}
		_, werr := fmt.Fprintf(to, "\n# %s\n%s%s", f.Name, f.Text, end)
		err = errors.Join(err, werr)
	}
	return err
}

// WriteFiles writes the files of a set below a directory, which it makes. It overwrites
// nothing. It returns their names.
func WriteFiles(e *rulelog.Entry, dir string) (names []string, err error) {
	files, err := e.Files()
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if !filepath.IsLocal(f.Name) {
			return names, fmt.Errorf("set %d has a file %q, which does not lie below a directory: it was not written by segmill apply", e.Number, f.Name)
		}
		path := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			return names, err
		}
		if err := writeNew(path, f.Text); err != nil {
			return names, err
		}
		names = append(names, path)
	}
	return names, nil
}

// writeNew writes a file that does not exist.
func writeNew(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists: name a directory that is empty", path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}
