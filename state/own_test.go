package state

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// onDisk are options for a directory of the disk.
func onDisk(app string) Options {
	opt := options(nil)
	opt.FS, opt.App = nil, app
	return opt
}

// tree lists everything below a directory with its mode and content.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		b.WriteString(path + " " + info.Mode().String() + " ")
		if info.Mode().IsRegular() {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			b.Write(content)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// close1 opens and closes a store on the disk.
func close1(t *testing.T, dir string, opt Options) {
	t.Helper()
	s, err := Open(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
}

// What is not the store's own is refused with a remedy, and nothing in it changes.
func TestForeignDirectories(t *testing.T) {
	root := t.TempDir()
	at := func(name string) string { return filepath.Join(root, name) }
	write(t, at("thesis/thesis.txt"), "years of work")
	write(t, at("leveldb/CURRENT"), "MANIFEST-000005\n")
	write(t, at("leveldb/MANIFEST-000005"), "of something else")
	write(t, at("rocks/MANIFEST-000005"), "of something else")
	write(t, at("rocks/OPTIONS-000003"), "[Options]\n  comparer=leveldb.BytewiseComparator\n  l0_compaction_threshold=4\n")
	write(t, at("mixed/MANIFEST-000005"), "x")
	write(t, at("mixed/lost+found/x"), "x")
	write(t, at("file"), "a file")
	close1(t, at("target"), onDisk("hs9"))
	for link, to := range map[string]string{"link": "target", "dangling": "nowhere", "loop": "loop"} {
		if err := os.Symlink(at(to), at(link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(at("lock"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(at("thesis/thesis.txt"), at("lock/LOCK")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(at("pipe"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(at("pipe/SEGMILL"), 0o644); err != nil {
		t.Fatal(err)
	}
	close1(t, at("other app"), onDisk("hs8"))
	close1(t, at("newer"), onDisk("hs9"))
	m := strings.Replace(mark{app: "hs9"}.String(), markTitle+markFormat, markTitle+"2", 1)
	m = m[:strings.Index(m, "check")]
	write(t, at("newer/SEGMILL"), m+checkOf(m))

	before := tree(t, root)
	for dir, remedy := range map[string]string{
		"/":              "`state: /var/lib/segmill/state`",
		at("thesis"):     "thesis.txt: set `state: " + at("thesis/segmill") + "`",
		at("leveldb"):    "CURRENT: set `state: " + at("leveldb/segmill") + "`",
		at("rocks"):      "mv " + at("rocks") + " " + at("rocks.old"),
		at("mixed"):      "lost+found: set",
		at("file"):       "is a file: set `state: " + at("file.d") + "`",
		at("link"):       "is a symbolic link: set `state: " + at("target") + "`",
		at("link") + "/": "is a symbolic link: set `state: " + at("target") + "`",
		at("dangling"):   "is a symbolic link",
		at("loop"):       "is a symbolic link",
		at("lock"):       "LOCK: set",
		at("pipe"):       "SEGMILL: set",
		at("other app"):  "application hs8, not of hs9: set `state: " + at("other app-hs9") + "` here; or, if hs8 no longer runs here: mv '" + at("other app") + "' '" + at("other app.old") + "'",
		at("newer"):      "was written by a newer version",
	} {
		s, err := Open(dir, onDisk("hs9"))
		if err == nil {
			closeStore(t, s)
		}
		if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), remedy) {
			t.Errorf("%s: %v, want %q", dir, err, remedy)
		}
	}
	if after := tree(t, root); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func checkOf(text string) string {
	return fmt.Sprintf("check %08x\n", crc32.ChecksumIEEE([]byte(text)))
}

// A directory that was made beforehand keeps its mode, which is warned of if others
// can look into it; one that the store makes is closed whatever the umask.
func TestModeOfDirectory(t *testing.T) {
	var log bytes.Buffer
	opt := onDisk("hs9")
	opt.Logger = slog.New(slog.NewTextHandler(&log, nil))
	made := filepath.Join(t.TempDir(), "made")
	if err := os.Mkdir(made, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(made, 0o755); err != nil {
		t.Fatal(err)
	}
	close1(t, made, opt)
	if !strings.Contains(log.String(), "chmod 700 "+made) {
		t.Errorf("no warning: %s", log.String())
	}
	mode := func(name string) fs.FileMode {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm()
	}
	if got := mode(made); got != 0o755 {
		t.Errorf("the mode is now %v", got)
	}
	for _, mask := range []int{0, 0o077, 0o277} {
		dir := filepath.Join(t.TempDir(), "state")
		old := syscall.Umask(mask)
		s, err := Open(dir, onDisk("hs9"))
		syscall.Umask(old)
		if err != nil {
			t.Fatalf("umask %o: %v", mask, err)
		}
		closeStore(t, s)
		for name, want := range map[string]fs.FileMode{dir: 0o700, filepath.Join(dir, "LOCK"): 0o600, filepath.Join(dir, markFile): 0o600} {
			if got := mode(name); got != want {
				t.Errorf("umask %o: %s has mode %v, want %v", mask, name, got, want)
			}
		}
	}
}

// What version 0.1.0 has left is taken over with what is in it, and marked; so is
// what is left of a process that was killed as it began, and a mark with a flipped
// bit.
func TestOldDirectoriesAreMarked(t *testing.T) {
	stores, err := filepath.Glob(filepath.Join(stored, "*"))
	if err != nil || len(stores) == 0 {
		t.Fatal(stores, err)
	}
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.CopyFS(dir, os.DirFS(stores[0])); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "LOCK"), "")
	for _, damage := range []string{"", "segmill state 1\napp hs8\ncheck 00000000\n", "\x00"} {
		if damage != "" {
			write(t, filepath.Join(dir, markFile), damage)
		}
		s, err := Open(dir, onDisk("hs9"))
		if err != nil || s.WasReset() != nil {
			t.Fatalf("%q: %v, %v", damage, err, s.WasReset())
		}
		if k := checkPrefix(t, s.Task(1)); k != 60 {
			t.Errorf("%d steps, want 60", k)
		}
		closeStore(t, s)
		if _, err := Open(dir, onDisk("hs8")); !errors.Is(err, ErrForeign) {
			t.Errorf("%q: another application opens it: %v", damage, err)
		}
	}
	for _, left := range [][]string{{"LOCK"}, {"LOCK", markFile + ".new"}, {markFile}} {
		dir := filepath.Join(t.TempDir(), "state")
		for _, name := range left {
			write(t, filepath.Join(dir, name), "")
		}
		close1(t, dir, onDisk("hs9"))
		if _, err := Open(dir, onDisk("hs8")); !errors.Is(err, ErrForeign) {
			t.Errorf("%q: another application opens it: %v", left, err)
		}
	}
}

// A state stays with the cluster that it is a copy of.
func TestClaim(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	claim := func(cluster string) error {
		s, err := Open(dir, onDisk("hs9"))
		if err != nil {
			t.Fatal(err)
		}
		defer closeStore(t, s)
		return s.Claim(cluster)
	}
	for _, cluster := range []string{"", "A", "A", ""} {
		if err := claim(cluster); err != nil {
			t.Errorf("%q: %v", cluster, err)
		}
	}
	if err := claim("B"); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "cluster A, but the brokers belong to cluster B") {
		t.Errorf("claimed by another cluster: %v", err)
	}
	if err := claim("A"); err != nil {
		t.Error(err)
	}
}
