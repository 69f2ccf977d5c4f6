//go:build hostile

package hostile

import (
	"context"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// classes is how many classes the tables have, leftOut how many of them the brokers
// did not let through.
var classes, leftOut atomic.Int64

// misuse is a command that must be refused: by its exit code, with a text that has the
// remedy. DIR in says and in args is its directory.
type misuse struct {
	name string
	do   func(t *testing.T, s *site) // what is prepared; state and configuration
	args string
	code int
	says string
}

// state replaces the state directory of the configuration.
func state(text string) func(*testing.T, *site) {
	return func(t *testing.T, s *site) { s.edit(t, "state: state", "state: "+text) }
}

func (s *site) edit(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), from) {
		t.Fatalf("the configuration has no %q", from)
	}
	write(t, s.config, strings.Replace(string(b), from, to, 1))
}

// file writes a file below the directory of a site.
func file(name, text string) func(*testing.T, *site) {
	return func(t *testing.T, s *site) {
		name := filepath.Join(s.dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, name, text)
	}
}

func link(name, to string) func(*testing.T, *site) {
	return func(t *testing.T, s *site) {
		if err := os.Symlink(to, filepath.Join(s.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func pipe(name string) func(*testing.T, *site) {
	return func(t *testing.T, s *site) {
		if err := syscall.Mkfifo(filepath.Join(s.dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func both(do ...func(*testing.T, *site)) func(*testing.T, *site) {
	return func(t *testing.T, s *site) {
		for _, d := range do {
			d(t, s)
		}
	}
}

// huge is a file of a tebibyte that takes no room.
func huge(name string) func(*testing.T, *site) {
	return both(file(name, ""), func(t *testing.T, s *site) {
		if err := os.Truncate(filepath.Join(s.dir, name), 1<<40); err != nil {
			t.Fatal(err)
		}
	})
}

// changelog makes the changelog with a policy.
func changelog(policy string) func(*testing.T, *site) {
	return func(t *testing.T, s *site) {
		if _, err := s.adm.CreateTopic(context.Background(), partitions, 1, map[string]*string{"cleanup.policy": &policy}, s.app+".changelog"); err != nil {
			t.Fatal(err)
		}
	}
}

const (
	run   = "run -c DIR/segmill.yaml"
	erase = "erase -c DIR/segmill.yaml --file ids"
)

var misuses = []misuse{
	{"state: /", state("/"), run, 78, "set a directory of its own, such as `state: /var/lib/segmill/state`"},
	{"state: a link to a directory", both(file("real/x", ""), link("state", "real")), run, 78, "is a symbolic link: set `state: DIR/real`"},
	{"state: a link to nowhere", link("state", "nowhere"), run, 78, "is a symbolic link: set `state: "},
	{"state: a file", file("state", ""), run, 78, "is a file: set `state: DIR/state.d`"},
	{"state: somebody's files", file("state/thesis.txt", "years of work"), run, 78, "set `state: DIR/state/segmill`"},
	{"state: a link among files of ours", both(file("state/LOCK", ""), link("state/000001.log", "/etc/passwd")), run, 78, "set `state: DIR/state/segmill`"},
	{"state: a damaged copy of somebody", both(file("state/MANIFEST-000001", "x"), file("state.damaged/theirs", "x")), run, 78, "mv DIR/state DIR/state.old"},
	{"state: another application's", func(t *testing.T, s *site) {
		other := newSite(t, "other", "")
		other.start(t)
		other.end(t)
		s.edit(t, "state: state", "state: "+filepath.Join(other.dir, "state"))
	}, run, 78, "no longer runs here: mv "},
	{"state: another cluster's", func(t *testing.T, s *site) {
		s.start(t)
		s.end(t)
		mark := filepath.Join(s.dir, "state", "SEGMILL")
		b, err := os.ReadFile(mark)
		if err != nil {
			t.Fatal(err)
		}
		write(t, mark, marked(string(b), "another-cluster"))
	}, run, 78, "to restore the state from this cluster: mv DIR/state DIR/state.old"},
	{"state: a newer version's", func(t *testing.T, s *site) {
		file("state/SEGMILL", checked("segmill state 9\n"))(t, s)
	}, run, 78, "run that version, or restore the state with this one: mv DIR/state DIR/state.old"},
	{"instance: no name", file("state.instance", "somebody else's file\n"), run, 1, "mv DIR/state.instance DIR/state.instance.old"},
	{"instance: a pipe", pipe("state.instance"), run, 1, "mv DIR/state.instance DIR/state.instance.old"},
	{"changelog: delete", changelog("delete"), run, 1, "--add-config cleanup.policy=compact"},
	{"changelog: compact,delete", changelog("compact,delete"), run, 1, "--add-config cleanup.policy=compact"},

	{"configuration: a pipe", pipe("p"), "run -c p", 78, "is a pipe, not a file"},
	{"configuration: /dev/zero", nil, "run -c /dev/zero", 78, "is a device, not a file"},
	{"configuration: a tebibyte", huge("large"), "run -c large", 78, "is more than 1048576 bytes long"},
	{"configuration: a directory", nil, "run -c .", 78, "is a directory, not a file"},
	{"rules: a pipe", both(pipe("p.yaml"), func(t *testing.T, s *site) { s.edit(t, "rules.yaml", "p.yaml") }), run, 78, "is a pipe, not a file"},
	{"rules: a directory with a pipe", both(file("r/a.yaml", ""), pipe("r/b.yaml")), "check r", 78, "is a pipe, not a file"},
	{"rules: /dev/zero", nil, "check /dev/zero", 78, "is a device, not a file"},
	{"rules: a link to /dev/zero", link("z.yaml", "/dev/zero"), "check z.yaml", 78, "is a device, not a file"},
	{"rules: a tebibyte", huge("large.yaml"), "check large.yaml", 78, "is more than 1048576 bytes long: split it"},
	{"key file: a pipe", both(pipe("key"), func(t *testing.T, s *site) {
		s.edit(t, "max_merge_wait", "dead_letter: {payload: hash, key_file: key}\nmax_merge_wait")
	}), run, 1, "is a pipe, not a file"},
	{"key file: empty", both(file("key", ""), func(t *testing.T, s *site) {
		s.edit(t, "max_merge_wait", "dead_letter: {payload: hash, key_file: key}\nmax_merge_wait")
	}), run, 1, "head -c 32 /dev/urandom > "},
	{"test: garbage beside the rules", file("rules_test.yaml", "\xff\xfe"), "test rules.yaml", 78, "rules_test.yaml:1:1: the file is not UTF-8 text: byte 0xff"},
	{"test: a rule file that is not there", file("rules_test.yaml", "rules: [../nowhere]\ntests: []"), "test rules.yaml", 78, "rules_test.yaml:1:9: there is no rule file ../nowhere"},
	{"test: a pipe", pipe("rules_test.yaml"), "test rules.yaml", 78, "is a pipe, not a file"},
	{"check: garbage beside the rules", file("rules_test.yaml", "- 3"), "check rules.yaml", 78, "a test file must be a mapping, but this is a list"},
	{"fmt: not text", file("wrong.yaml", "\xff"), "fmt -w wrong.yaml", 78, "the file is not UTF-8 text"},
	{"init: a file is there", file("segmill.yaml", "mine"), "init .", 1, "segmill.yaml exists already"},
	{"replay: cut off", file("events.gz", "\x1f\x8b\x08"), "replay --rules rules.yaml --events events.gz", 1, "--events: gzip: unexpected EOF"},
	{"replay: an array without an end", file("events.json", "[{}"), "replay --rules rules.yaml --events events.json", 1, "the array does not end"},
	{"replay: events are a directory", nil, "replay --rules rules.yaml --events .", 1, "is a directory"},

	{"erase: quotes", file("ids", "\"c1\"\n"), erase, 1, "write the bare id, or use --literal if this is the id"},
	{"erase: single quotes", file("ids", "'c1'\n"), erase, 1, "write the bare id"},
	{"erase: blanks", file("ids", "c1 \n"), erase, 1, "there is white space around it"},
	{"erase: a tab", file("ids", "c1\tanna\n"), erase, 1, "write the bare id"},
	{"erase: a table", file("ids", "c1,Anna\n"), erase, 1, "as between the columns of a table"},
	{"erase: JSON", file("ids", `{"id":"c1"}`+"\n"), erase, 1, "it is a JSON or Connect structure"},
	{"erase: UTF-16", file("ids", "\xff\xfec\x001\x00\n\x00"), erase, 1, "is not text in UTF-8"},
	{"erase: 0x00", file("ids", "c\x001\n"), erase, 1, "is not text in UTF-8"},
	{"erase: one of a thousand", file("ids", strings.Repeat("c1\n", 999)+" c2\n"), erase, 1, "1 line of 1000 rejected; nothing was erased"},
	{"erase: two byte order marks", file("ids", "\ufeff\ufeffc1\n"), erase, 1, "it begins with a byte order mark"},
	{"erase: 2,000 bytes", file("ids", strings.Repeat("x", 2_000)+"\n"), erase, 1, "more than 1024"},
	{"erase: an empty file", file("ids", "\n\n"), erase, 2, "name a customer"},
	{"erase: a pipe", pipe("ids"), erase, 1, "is a pipe, not a file (standard input is --file -)"},
	{"erase: /dev/zero", nil, "erase -c segmill.yaml --file /dev/zero", 1, "is a device, not a file"},
	{"erase: a tebibyte", huge("ids"), erase, 1, "is more than"},
	{"erase: an argument with blanks", nil, "erase -c segmill.yaml \u00a0c1", 2, "write the bare id, or use --literal"},
	{"erase: a byte order mark is passed over", file("ids", "\ufeffc1\r\nc2\r\n"), erase + " --dry-run", 0, "2 ids valid; nothing was written"},
	{"check: editors' lock files", both(file("r/a.yaml", rules()), link("r/.#a.yaml", "somebody@host.1234:567")), "check r", 0, ""},
}

// TestMisuse runs each of them. What they are pointed at stays as it was.
func TestMisuse(t *testing.T) {
	for _, m := range misuses {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "misuse", "")
			s.app += fmt.Sprint("-", customers.Add(1))
			write(t, s.config, s.text())
			if m.do != nil {
				m.do(t, s)
			}
			before := listing(t, s.dir)
			p := launch(t, s.dir, strings.Split(strings.ReplaceAll(m.args, "DIR", s.dir), " ")...)
			most := p.highWater()
			for !p.ended() {
				most = max(most, p.highWater())
				select {
				case <-p.done:
				case <-time.After(20 * time.Millisecond):
				}
				if time.Since(p.began) > 30*time.Second {
					t.Fatal("it does not end")
				}
			}
			if text := p.text(t); p.code() != m.code || !strings.Contains(text, strings.ReplaceAll(m.says, "DIR", s.dir)) {
				t.Errorf("exit code %d, want %d and %q:\n%s", p.code(), m.code, m.says, text)
			}
			if most > mostMemory {
				t.Errorf("%d MiB", most>>20)
			}
			if after := listing(t, s.dir); m.code == 78 && s.p == nil && after != before {
				t.Errorf("there was\n%s\nand is\n%s", before, after)
			}
		})
	}
	classes.Add(int64(len(misuses)))
}

// checked ends the text of a mark with its checksum.
func checked(text string) string {
	return fmt.Sprintf("%scheck %08x\n", text, crc32.ChecksumIEEE([]byte(text)))
}

// marked returns a mark with another cluster.
func marked(mark, id string) string {
	app, _, _ := strings.Cut(mark[:strings.LastIndex(mark, "check ")], "cluster ")
	return checked(app + "cluster " + id + "\n")
}

// listing is all files below a directory, with their modes and sizes.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && !d.IsDir() {
			fmt.Fprintf(&b, "%s %v %d\n", path, info.Mode(), info.Size())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestDeletedChangelog: an empty changelog whose records were deleted is no first start.
func TestDeletedChangelog(t *testing.T) {
	s := newSite(t, "deleted", "")
	s.start(t)
	s.sing(t)()
	s.end(t)
	ends, err := s.adm.ListEndOffsets(context.Background(), s.app+".changelog")
	if err != nil {
		t.Fatal(err)
	}
	policy := func(p string) { // Kafka deletes no records of a topic that is only compacted
		set := []kadm.AlterConfig{{Name: "cleanup.policy", Value: &p}}
		got, err := s.adm.AlterTopicConfigs(context.Background(), set, s.app+".changelog")
		if err == nil {
			_, err = got.On(s.app+".changelog", nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	policy("delete")
	deleted, err := s.adm.DeleteRecords(context.Background(), ends.Offsets())
	if err == nil {
		err = deleted.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	policy("compact")
	s.launch(t)
	eventually(t, 30*time.Second, "it is stopped", func() bool {
		return strings.Contains(s.p.ready(), "its records were deleted, and with them the state")
	})
	if err := s.p.stop(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	classes.Add(1)
}

// TestWeakInputs: inputs that are compacted or not kept long enough are named, and the
// canaries come through.
func TestWeakInputs(t *testing.T) {
	s := newSite(t, "weak", "")
	for topic, settings := range map[string]map[string]string{"web": {"cleanup.policy": "compact"}, "email": {"retention.ms": "3600000"}} {
		conf := map[string]*string{}
		for k, v := range settings {
			conf[k] = kadm.StringPtr(v)
		}
		if _, err := s.adm.CreateTopic(context.Background(), partitions, 1, conf, s.app+"."+topic); err != nil {
			t.Fatal(err)
		}
	}
	s.start(t)
	s.sing(t)()
	for _, want := range []string{s.app + ".web", s.app + ".email"} {
		if !strings.Contains(s.p.text(t), want) || !strings.Contains(s.p.metrics(), `segmill_topic_weaknesses{`) {
			t.Errorf("%s is not named", want)
		}
	}
	s.end(t)
	classes.Add(2)
}

// TestCopiedInstance: two processes of one copied directory run both.
func TestCopiedInstance(t *testing.T) {
	s := newSite(t, "copied", "")
	s.start(t)
	copied := *newSite(t, "copy", "")
	write(t, copied.config, strings.Replace(s.text(), "rules.yaml", filepath.Join(s.dir, "rules.yaml"), 1))
	b, err := os.ReadFile(filepath.Join(s.dir, "state.instance"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(copied.dir, "state.instance"), string(b))
	copied.launch(t)
	eventually(t, time.Minute, "the copy has taken a name of its own", func() bool {
		return strings.Contains(copied.p.text(t), "taking a new name") && copied.p.ready() == "ok\n"
	})
	eventually(t, time.Minute, "the original is ready", func() bool { return s.p.ready() == "ok\n" })
	s.sing(t)()
	if err := copied.p.stop(10 * time.Second); err != nil || copied.p.code() != 0 {
		t.Errorf("exit code %d, %v", copied.p.code(), err)
	}
	s.end(t)
	classes.Add(1)
}
