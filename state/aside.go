package state

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// Damaged databases are kept for finding the cause: the newest
// keptAside of those that stores have made.
const (
	asideSuffix = ".damaged-"
	asideTime   = "20060102T150405Z"
	keptAside   = 2
)

var asideName = regexp.MustCompile(`^\d{8}T\d{6}Z(-\d+)?$`)

// setAside moves the files of the database, and nothing else that may be there, to
// a new directory, whose name it returns. A process that is killed meanwhile
// leaves the note of damage, so that what is left is not taken for a database.
func (s *Store) setAside() (string, error) {
	aside, err := s.makeAside()
	if err == nil {
		err = s.moveTo(aside)
	}
	if errors.Is(err, syscall.EXDEV) {
		err = fmt.Errorf("%w: %s is a mount point: set `state: %s`", err, s.dir, filepath.Join(s.dir, "segmill"))
	}
	if err != nil {
		return "", fmt.Errorf("state: set aside: %w", err)
	}
	s.mu.Lock()
	s.err, s.failed = nil, make(chan struct{})
	s.mu.Unlock()
	s.dropAside()
	return aside, nil
}

// makeAside makes the directory that the files are moved to, with the mark.
func (s *Store) makeAside() (string, error) {
	first := s.dir + asideSuffix + s.opt.Now().UTC().Format(asideTime)
	aside := first
	for n := 2; ; n++ {
		if _, err := s.lstat(aside); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return "", err
		}
		aside = fmt.Sprintf("%s-%d", first, n)
	}
	if err := s.opt.FS.MkdirAll(aside, 0o700); err != nil {
		return "", err
	}
	return aside, s.writeMark(aside, s.mark)
}

func (s *Store) moveTo(aside string) error {
	s.markDamaged()
	if err := s.syncDir(s.dir); err != nil {
		return err
	}
	names, err := s.opt.FS.List(s.dir)
	if err != nil {
		return err
	}
	move := func(name string) error {
		return s.opt.FS.Rename(filepath.Join(s.dir, name), filepath.Join(aside, name))
	}
	for _, name := range names {
		if name == "LOCK" || name == damageFile || strings.HasPrefix(name, markFile) || !ours.MatchString(name) {
			continue
		}
		if err := move(name); err != nil {
			return err
		}
	}
	if err := s.syncDir(s.dir); err != nil {
		return err
	}
	if err := move(damageFile); err != nil {
		return err
	}
	return errors.Join(s.syncDir(s.dir), s.syncDir(aside))
}

// dropAside removes old copies. One that can't be removed, or that somebody has
// put something into, stays.
func (s *Store) dropAside() {
	parent := filepath.Dir(s.dir)
	names, err := s.opt.FS.List(parent)
	if err != nil {
		s.opt.Logger.Warn("cannot look for old damaged copies", "dir", parent, "error", err)
		return
	}
	slices.Sort(names)
	kept := 0
	for _, name := range slices.Backward(names) {
		at, ok := strings.CutPrefix(name, filepath.Base(s.dir)+asideSuffix)
		dir := filepath.Join(parent, name)
		if !ok || !asideName.MatchString(at) || !s.isAside(dir) {
			continue
		}
		if kept++; kept <= keptAside {
			continue
		}
		if err := s.removeAside(dir); err != nil {
			s.opt.Logger.Warn("cannot remove an old damaged copy", "dir", dir, "error", err)
		}
	}
}

// isAside reports whether a store of this application made a directory.
func (s *Store) isAside(dir string) bool {
	info, err := s.lstat(dir)
	if err != nil || !info.IsDir() {
		return false
	}
	m, err := s.readMark(dir)
	return err == nil && m.app == s.mark.app
}

func (s *Store) removeAside(dir string) error {
	names, err := s.opt.FS.List(dir)
	if err != nil {
		return err
	}
	if strange, _ := others(names); strange != "" {
		return fmt.Errorf("it holds %s, which segmill did not create", strange)
	}
	// The mark is the last to go: half a copy is still known for one.
	slices.SortFunc(names, func(a, b string) int {
		if a == markFile {
			return 1
		}
		if b == markFile {
			return -1
		}
		return strings.Compare(a, b)
	})
	for _, name := range names {
		if err := s.opt.FS.Remove(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return s.opt.FS.Remove(dir)
}
