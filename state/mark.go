package state

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// markFile is the file that says that a directory is a store's own:
//
//	segmill state 1
//	app shop
//	cluster 5L6g3nShT-eMCtK--X86sw
//	check 1c291ca3
//
// An app or cluster that is not known yet has no line. The checksum, CRC-32 of
// what stands before its line, keeps a flipped bit from naming another application.
const markFile = "SEGMILL"

const (
	markTitle  = "segmill state "
	markFormat = "1"
	maxMark    = 4 << 10 // bytes
)

// mark is what the file says.
type mark struct{ app, cluster string }

var (
	errNoMark  = errors.New("no readable mark")
	errNewMark = errors.New("a mark of a newer version")
)

func (m mark) String() string {
	var b strings.Builder
	b.WriteString(markTitle + markFormat + "\n")
	if m.app != "" {
		b.WriteString("app " + m.app + "\n")
	}
	if m.cluster != "" {
		b.WriteString("cluster " + m.cluster + "\n")
	}
	fmt.Fprintf(&b, "check %08x\n", crc32.ChecksumIEEE([]byte(b.String())))
	return b.String()
}

func parseMark(text string) (m mark, err error) {
	at := strings.LastIndex(text, "check ")
	if at < 0 || !strings.HasPrefix(text, markTitle) || text[at:] != fmt.Sprintf("check %08x\n", crc32.ChecksumIEEE([]byte(text[:at]))) {
		return m, errNoMark
	}
	lines := strings.Split(text[:at], "\n")
	if lines[0] != markTitle+markFormat {
		return m, errNewMark
	}
	for _, line := range lines[1:] {
		switch key, value, _ := strings.Cut(line, " "); key {
		case "app":
			m.app = value
		case "cluster":
			m.cluster = value
		}
	}
	return m, nil
}

// readMark returns the mark of a directory, or errNoMark or errNewMark.
func (s *Store) readMark(dir string) (mark, error) {
	b, err := s.readSmall(filepath.Join(dir, markFile), maxMark)
	if err != nil {
		return mark{}, errNoMark
	}
	return parseMark(string(b))
}

// readSmall reads a regular file of no more than limit bytes.
func (s *Store) readSmall(name string, limit int64) ([]byte, error) {
	info, err := s.lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	f, err := s.opt.FS.Open(name)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, limit))
	return b, errors.Join(err, f.Close())
}

// writeMark writes a mark so that after a crash there is the old one or the new
// one, and so that it is on the disk before anything else is in the directory.
func (s *Store) writeMark(dir string, m mark) error {
	name := filepath.Join(dir, markFile)
	err := func() error {
		f, err := s.opt.FS.Create(name+".new", vfs.WriteCategoryUnspecified)
		if err != nil {
			return err
		}
		_, err = io.WriteString(f, m.String())
		if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
			return err
		}
		if err := s.opt.FS.Rename(name+".new", name); err != nil {
			return err
		}
		return s.syncDir(dir)
	}()
	if err != nil {
		return fmt.Errorf("state: mark %s: %w", dir, err)
	}
	return nil
}

// syncDir makes the names in a directory survive a crash.
func (s *Store) syncDir(dir string) error {
	d, err := s.opt.FS.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
