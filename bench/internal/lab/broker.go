package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/segmill/segmill/bench/internal/job"
	"github.com/segmill/segmill/bench/internal/side"
)

// Broker is a devkafka process: everything in memory, nobody else on it.
type Broker struct {
	Kafka, Registry string
	cmd             *exec.Cmd
}

// StartBroker starts a broker with empty topics, of which each has side.Partitions.
func (l *Lab) StartBroker(ctx context.Context, topics ...string) (*Broker, error) {
	for i, t := range topics {
		topics[i] = fmt.Sprintf("%s:%d", t, side.Partitions)
	}
	cmd := exec.CommandContext(ctx, l.program("devkafka"), "--kafka", "127.0.0.1:0", "--registry", "127.0.0.1:0",
		"--topics", strings.Join(topics, ","), "--min-session", "1s")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	b := &Broker{cmd: cmd}
	for in := bufio.NewScanner(out); b.Registry == "" && in.Scan(); {
		switch what, addr, _ := strings.Cut(in.Text(), " "); what {
		case "kafka":
			b.Kafka = addr
		case "registry":
			b.Registry = addr
		}
	}
	go io.Copy(io.Discard, out) //nolint:errcheck // it ends with the process
	if b.Registry == "" {
		return nil, errors.Join(errors.New("devkafka did not start"), cmd.Wait())
	}
	return b, nil
}

// Stop ends the process.
func (b *Broker) Stop() error {
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return b.cmd.Wait()
}

// Client returns a client of the broker.
func (b *Broker) Client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(b.Kafka)}, opts...)...)
}

// registry returns a client of the registry.
func (b *Broker) registry() (*sr.Client, error) { return sr.NewClient(sr.URLs(b.Registry)) }

// Read calls fn with every committed record of a topic, one partition after the other
// or mixed; a topic that does not exist has none. Nothing of the record may be kept.
func (b *Broker) Read(ctx context.Context, topic string, fn func(*kgo.Record) error) error {
	cl, err := b.Client(kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	if err != nil {
		return err
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	left := map[int32]int64{}
	from := map[int32]kgo.Offset{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Err == nil && o.Offset > 0 {
			left[o.Partition], from[o.Partition] = o.Offset, kgo.NewOffset().AtStart()
		}
	})
	cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: from})
	for len(left) > 0 && err == nil {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			return fmt.Errorf("read %s: %w", topic, err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			if err == nil && !r.Attrs.IsControl() {
				err = fn(r)
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return err
}

func (b *Broker) changes(ctx context.Context, read func([]byte, *job.Change) error) (n int, h job.Hash, err error) {
	var c job.Change
	err = b.Read(ctx, side.Changes, func(r *kgo.Record) error {
		n++
		if err := read(r.Value, &c); err != nil {
			return err
		}
		h.AddChange(&c)
		return nil
	})
	return n, h, err
}

// Ends returns the sum of the offsets at which the partitions of a topic end: of one
// that nothing was deleted from, how many records it has had, with the marks of
// transactions.
func (b *Broker) Ends(ctx context.Context, topic string) (sum int64, err error) {
	cl, err := b.Client()
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	ends.Each(func(o kadm.ListedOffset) { sum += o.Offset })
	return sum, err
}
