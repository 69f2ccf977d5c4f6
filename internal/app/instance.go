package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/internal/bounded"
)

// instance is the name of this instance in the consumer group: made once and kept
// beside the state directory, which only one process can have open. So a process
// that was killed is known when it comes back with its disk.
//
// Two processes of one name would shut each other out, so the file also says where
// it was written. One that was copied, to another machine or to another directory,
// is noticed by that:
//
//	segmill-ESDNRVHQRB6QVLGQVTKJ3A6QTZ
//	host web-1
//	boot 6b1f4d0c-5f0b-4b3e-9d7a-2f6f0b1c8f77
//	directory /var/lib/segmill/state
//
// Version 0.1.0 wrote the first line alone.
type instance struct {
	file string
	id   string
	// written is where the file was written, nothing if that is not known.
	written, here place
}

// place is where a process runs. Boot changes when the machine is started; it is
// empty on systems that do not name it.
type place struct{ host, boot, dir string }

// maxInstanceFile is more than the file takes, in bytes.
const maxInstanceFile = 8 << 10

var instanceName = regexp.MustCompile(`^segmill-[A-Z2-7]{26}$`)

// thisPlace returns where this process runs with a state directory.
func thisPlace(stateDir string) (p place, err error) {
	if p.host, err = os.Hostname(); err != nil {
		return p, err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		return p, err
	}
	p.boot = strings.TrimSpace(string(boot))
	if p.dir, err = filepath.Abs(stateDir); err != nil {
		return p, err
	}
	if target, err := filepath.EvalSymlinks(p.dir); err == nil {
		p.dir = target
	}
	return p, nil
}

// readInstance returns the instance of a state directory that this process has
// open. A name that is missing, or that was written on another host or for
// another directory, is replaced by a new one.
func readInstance(stateDir string, here place, log *slog.Logger) (*instance, error) {
	in := &instance{file: filepath.Clean(stateDir) + ".instance", here: here}
	b, err := bounded.ReadRegular(in.file, maxInstanceFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("%w; it holds the name of this instance: mv %s %s.old", err, in.file, in.file)
	default:
		if err := in.parse(string(b)); err != nil {
			return nil, err
		}
	}
	switch w := in.written; {
	case in.id == "":
		in.id = newInstance()
	case w.host != "" && w.host != here.host, w.dir != "" && w.dir != here.dir:
		before := in.id
		in.id = newInstance()
		log.Warn("the name of this instance was written on another host or for another directory, so this is a copy: taking a new name; partitions held under the old one move after the session timeout",
			"file", in.file, "host", w.host, "directory", w.dir, "old", before, "new", in.id)
	case w == here || !in.restarted():
		return in, in.save()
	default:
		return in, nil // settle decides
	}
	in.written = place{}
	return in, in.save()
}

func newInstance() string { return "segmill-" + rand.Text() }

// restarted reports whether the machine was started since the file was written, or
// the file is on another machine of the same name.
func (in *instance) restarted() bool {
	return in.written.boot != "" && in.here.boot != "" && in.written.boot != in.here.boot
}

func (in *instance) parse(text string) error {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if lines[0] == "" {
		return nil // left by a full disk
	}
	if !instanceName.MatchString(lines[0]) {
		return fmt.Errorf("%s does not hold an instance name: mv %s %s.old", in.file, in.file, in.file)
	}
	in.id = lines[0]
	for _, line := range lines[1:] {
		switch key, value, _ := strings.Cut(line, " "); key {
		case "host":
			in.written.host = value
		case "boot":
			in.written.boot = value
		case "directory":
			in.written.dir = value
		}
	}
	return nil
}

// save writes the file if it says something else.
func (in *instance) save() error {
	if in.written == in.here {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(in.file), filepath.Base(in.file)+".*")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s\nhost %s\nboot %s\ndirectory %s\n", in.id, in.here.host, in.here.boot, in.here.dir)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), in.file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	in.written = in.here
	return nil
}

// settle decides about a name that was written before the machine was started:
// either this is that machine, or another one that was cloned from it. If a member
// of the group has the name now, it is taken for the other machine's, and this
// instance gets a new one. A member that is only not forgotten yet, since the
// machine was started again within the session timeout, costs that timeout.
func (in *instance) settle(ctx context.Context, group string, opts []kgo.Opt, log *slog.Logger) error {
	if !in.restarted() {
		return nil
	}
	taken, err := isMember(ctx, group, in.id, opts)
	if err != nil {
		log.Warn("cannot find out from the group whether another instance has this name", "group", group, "file", in.file, "error", err)
	}
	if taken {
		before := in.id
		in.id = newInstance()
		log.Warn("another member of the group may have this instance's name, which was written before this machine was started: taking a new name",
			"group", group, "file", in.file, "old", before, "new", in.id)
	}
	return in.save()
}

// memberTimeout bounds the request for the group's members.
const memberTimeout = 5 * time.Second

func isMember(ctx context.Context, group, id string, opts []kgo.Opt) (bool, error) {
	cl, err := kgo.NewClient(slices.Clone(opts)...)
	if err != nil {
		return false, err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, memberTimeout)
	defer cancel()
	groups, err := kadm.NewClient(cl).DescribeGroups(ctx, group)
	if err != nil {
		return false, err
	}
	for _, m := range groups[group].Members {
		if m.InstanceID != nil && *m.InstanceID == id {
			return true, nil
		}
	}
	return false, nil
}
