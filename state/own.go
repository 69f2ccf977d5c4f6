package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// ErrForeign is wrapped by errors that say that a directory is not this
// application's state. Nothing in it was changed.
var ErrForeign = errors.New("state: the directory is not this application's")

// A directory is the store's own if it was made or found empty by the store, which
// leaves a mark in it before anything else, or if it holds what version 0.1.0 has
// written, which left no mark. Everything else belongs to somebody.

// claimDir makes the directory or makes sure that it is the store's own, locks it,
// and marks it. Before it is known to be the store's own nothing is written there.
func (s *Store) claimDir() error {
	if _, _, err := s.inspect(); err != nil {
		return err
	}
	if err := s.opt.FS.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	if err := s.takeLock(); err != nil {
		return err
	}
	// Another process may have been here between the look and the lock.
	m, marked, err := s.inspect()
	if err == nil && (!marked || m.app == "" && s.opt.App != "") {
		if m.app == "" {
			m.app = s.opt.App
		}
		err = s.writeMark(s.dir, m)
	}
	if err != nil {
		return errors.Join(err, s.lock.Close())
	}
	s.mark = m
	return nil
}

// Claim notes which Kafka cluster the state is a copy of. If it is of another one
// already, it returns an error that wraps ErrForeign. An empty id, of brokers that
// have none, is no claim.
func (s *Store) Claim(cluster string) error {
	m := s.mark
	switch {
	case cluster == "" || m.cluster == cluster:
		return nil
	case m.cluster != "":
		return fmt.Errorf("%w: %s holds the state of cluster %s, but the brokers belong to cluster %s: see kafka.brokers; or, to restore the state from this cluster: %s",
			ErrForeign, s.dir, m.cluster, cluster, moveAway(s.dir))
	}
	m.cluster = cluster
	if err := s.writeMark(s.dir, m); err != nil {
		return err
	}
	s.mark = m
	return nil
}

// inspect looks whether the directory may be used. It returns its mark, and false
// if it has none that can be read.
func (s *Store) inspect() (m mark, marked bool, err error) {
	foreign := func(format string, args ...any) (mark, bool, error) {
		return mark{}, false, fmt.Errorf("%w: "+format, append([]any{ErrForeign}, args...)...)
	}
	if s.dir == filepath.Dir(s.dir) {
		return foreign("%s cannot be used: set a directory of its own, such as `state: /var/lib/segmill/state`", s.dir)
	}
	info, err := s.lstat(s.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return m, false, nil
	case err != nil:
		return m, false, fmt.Errorf("state: %w", err)
	case info.Mode()&fs.ModeSymlink != 0:
		to, err := filepath.EvalSymlinks(s.dir)
		if err != nil {
			to = "the directory itself"
		}
		return foreign("%s is a symbolic link: set `state: %s`", s.dir, to)
	case !info.IsDir():
		return foreign("%s is a file: set `state: %s`", s.dir, s.dir+".d")
	}
	names, err := s.opt.FS.List(s.dir)
	if err != nil {
		return m, false, fmt.Errorf("state: %w", err)
	}
	m, err = s.readMark(s.dir)
	switch {
	case errors.Is(err, errNewMark):
		return foreign("%s was written by a newer version: run that version, or restore the state with this one: %s", s.dir, moveAway(s.dir))
	case err == nil && m.app != "" && s.opt.App != "" && m.app != s.opt.App:
		return foreign("%s holds the state of application %s, not of %s: set `state: %s` here; or, if %s no longer runs here: %s",
			s.dir, m.app, s.opt.App, s.dir+"-"+s.opt.App, m.app, moveAway(s.dir))
	case err == nil:
		return m, true, nil
	}
	if strange, empty := s.strangers(names); empty {
		s.warnOfMode(info)
		return m, false, nil
	} else if strange == "" && s.isFirstVersion(names) {
		return m, false, nil
	} else if strange != "" {
		return foreign("it is not empty and not marked as segmill's, but holds %s: set `state: %s`, which will be created; or, if this is old state, which the changelog can restore: %s",
			filepath.Join(s.dir, strange), filepath.Join(s.dir, "segmill"), moveAway(s.dir))
	}
	return foreign("%s holds a database that is not marked as segmill's: set `state: %s`, which will be created; or, if this is old state, which the changelog can restore: %s",
		s.dir, filepath.Join(s.dir, "segmill"), moveAway(s.dir))
}

// warnOfMode says that others can look into a directory that was made by hand.
func (s *Store) warnOfMode(info fs.FileInfo) {
	if _, ok := s.opt.FS.(private); ok && info.Mode().Perm()&0o077 != 0 {
		s.opt.Logger.Warn("other users can list the files of the existing state directory",
			"dir", s.dir, "mode", info.Mode().Perm().String(), "remedy", "chmod 700 "+quoted(s.dir))
	}
}

// ours are the names of files that a store makes.
var ours = regexp.MustCompile(`^(LOCK|` + damageFile + `|` + markFile + `(\.new)?|(MANIFEST|OPTIONS)-\d{6,}|marker\.(manifest|format-version)\.\d{6,}\..+|` +
	`\d{6,}(-\d{3})?\.(log|sst|blob)|(OPTIONS-|CURRENT\.|temporary\.)?\d{6,}\.dbtmp)$`)

// strangers is others of a directory without a mark, in which a link or a pipe that
// is named like a file of ours is a stranger too.
func (s *Store) strangers(names []string) (strange string, empty bool) {
	if strange, empty = others(names); strange != "" {
		return strange, empty
	}
	for _, name := range names {
		if info, err := s.lstat(filepath.Join(s.dir, name)); err == nil && !info.Mode().IsRegular() {
			return name, false
		}
	}
	return strange, empty
}

// others returns a file that no store has made, "" if there is none, and whether
// there is nothing but what is left of a store that was killed as it began.
func others(names []string) (strange string, empty bool) {
	empty = true
	for _, name := range names {
		switch {
		case !ours.MatchString(name):
			strange, empty = name, false
		case name != "LOCK" && name != markFile && name != markFile+".new":
			empty = false
		}
	}
	return strange, empty
}

// firstVersion is what is in the OPTIONS file of every database of version 0.1.0,
// and hardly in that of another program: not one of these lines is the default.
var firstVersion = []string{
	"comparer=leveldb.BytewiseComparator", "format_major_version=20", "l0_compaction_threshold=2", "lbase_max_bytes=268435456",
	"max_open_files=2048", "mem_table_stop_writes_threshold=4", "bytes_per_sync=1048576", "wal_bytes_per_sync=524288",
	"filter_policy=rocksdb.BuiltinBloomFilter", "index_block_size=8192",
}

// maxOptions is more than an OPTIONS file takes, in bytes.
const maxOptions = 64 << 10

// isFirstVersion reports whether the files are a database of version 0.1.0.
func (s *Store) isFirstVersion(names []string) bool {
	for _, name := range names {
		if !strings.HasPrefix(name, "OPTIONS-") {
			continue
		}
		b, err := s.readSmall(filepath.Join(s.dir, name), maxOptions)
		if err != nil {
			continue
		}
		lines := strings.Fields(string(b))
		if !slices.ContainsFunc(firstVersion, func(l string) bool { return !slices.Contains(lines, l) }) {
			return true
		}
	}
	return false
}

// lstat describes a file; a symbolic link is not followed where there are any.
func (s *Store) lstat(name string) (os.FileInfo, error) {
	if l, ok := s.opt.FS.(interface {
		Lstat(name string) (os.FileInfo, error)
	}); ok {
		return l.Lstat(name)
	}
	return s.opt.FS.Stat(name)
}

// moveAway is the command that makes room for a new directory.
func moveAway(dir string) string { return "mv " + quoted(dir) + " " + quoted(dir+".old") }

var plain = regexp.MustCompile(`^[A-Za-z0-9_./-]+$`)

// quoted returns a text as a shell takes it.
func quoted(text string) string {
	if plain.MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
