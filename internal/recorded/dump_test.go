package recorded

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// recording is what came out of a run: parts by name, each a list of lines.
type recording struct {
	parts map[string][]string
	// random are bytes that are drawn anew in each run, and what stands for them.
	random []string
}

// Formats on the wire that the recording must know, because they hold random bytes.
const (
	claimPrefix = "claim/"        // key of a claim in the changelog
	headerStamp = "segmill.batch" // header that begins with a claim
	headerProse = "dlq.error"     // text for people, which may change
)

// record reads everything that the engine has written.
//
// Left out, because it is of the broker, the client or the hour: timestamps of
// records that are not forwarded, producer ids and epochs, the text of a dead letter's
// reason. Replaced, because they are drawn by chance: the ids of topics, and the claims
// of owners without transactions, by their number in the changelog partition.
func (r *rig) record(files vfs.FS) *recording {
	r.Helper()
	rec := &recording{parts: map[string][]string{}}
	admin := kadm.NewClient(r.writer)
	topics, err := admin.ListTopics(context.Background())
	if err != nil {
		r.Fatal(err)
	}
	for _, t := range topics.Sorted() {
		placeholder := sha256.Sum256([]byte(t.Topic))
		rec.random = append(rec.random, string(t.ID[:]), string(placeholder[:16]))
	}
	logs := map[string][]*kgo.Record{}
	for _, topic := range written {
		for p := range int32(partitions) {
			logs[fmt.Sprintf("%s-%d", topic, p)] = r.read(admin, topic, p)
		}
	}
	for p := range int32(partitions) {
		rec.claims(p, logs[fmt.Sprintf("%s.changelog-%d", appName, p)])
	}
	names := strings.NewReplacer(rec.random...)
	for name, log := range logs {
		rec.parts[name] = []string{}
		for _, l := range log {
			rec.parts[name] = append(rec.parts[name], line(l, names))
		}
	}
	rec.parts["state"] = r.stored(files, names)
	return rec
}

// claims notes the claims of a changelog partition, and the keys that they have.
func (rec *recording) claims(partition int32, log []*kgo.Record) {
	n := 0
	for _, l := range log {
		if key, ok := strings.CutPrefix(string(l.Key), claimPrefix); ok && len(l.Value) == 8 {
			n++
			rec.random = append(rec.random, string(l.Value), fmt.Sprintf("claim%d%02d", partition, n), key, fmt.Sprintf("%d-%02d", partition, n))
		}
	}
}

// read reads a partition, whatever stands in it.
func (r *rig) read(admin *kadm.Client, topic string, partition int32) []*kgo.Record {
	r.Helper()
	ctx := context.Background()
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		r.Fatal(err)
	}
	end, _ := ends.Lookup(topic, partition)
	cl := r.client(kgo.KeepControlRecords(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().AtStart()}}))
	defer cl.Close()
	var log []*kgo.Record
	for next := int64(0); next < end.Offset; {
		for _, l := range cl.PollFetches(ctx).Records() {
			log = append(log, l)
			next = l.Offset + 1
		}
	}
	return log
}

// line writes a record as text.
func line(l *kgo.Record, names *strings.Replacer) string {
	if l.Attrs.IsControl() {
		end := "aborted"
		if len(l.Key) >= 4 && binary.BigEndian.Uint16(l.Key[2:]) == 1 {
			end = "committed"
		}
		return fmt.Sprintf("%d %s", l.Offset, end)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d key %s value %s", l.Offset, text(l.Key, names), text(l.Value, names))
	for _, h := range l.Headers {
		value := h.Value
		if h.Key == headerProse {
			value = []byte("...")
		}
		fmt.Fprintf(&b, " %s=%s", h.Key, text(value, names))
	}
	if strings.HasSuffix(l.Topic, ".repartition") {
		fmt.Fprintf(&b, " at %d", l.Timestamp.UnixMilli())
	}
	return b.String()
}

// text writes bytes so that they can be read.
func text(b []byte, names *strings.Replacer) string {
	if b == nil {
		return "null"
	}
	return fmt.Sprintf("%q", names.Replace(string(b)))
}

// stored returns what is in the local state, which is closed: every key with its
// value, in order.
func (r *rig) stored(files vfs.FS, names *strings.Replacer) []string {
	r.Helper()
	db, err := pebble.Open(stateIn, &pebble.Options{FS: files, ReadOnly: true, Logger: quiet{}})
	if err != nil {
		r.Fatal(err)
	}
	defer db.Close()
	it, err := db.NewIter(nil)
	if err != nil {
		r.Fatal(err)
	}
	defer it.Close()
	var lines []string
	for ok := it.First(); ok; ok = it.Next() {
		lines = append(lines, text(it.Key(), names)+" "+text(it.Value(), names))
	}
	if err := it.Error(); err != nil {
		r.Fatal(err)
	}
	return lines
}

// quiet is a logger of Pebble.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

// unsteady are the metrics of which only the names are recorded: they measure how long
// something took, how large files are, or how often somebody looked.
var unsteady = []string{
	"segmill_commit_seconds",         // a duration
	"segmill_fold_seconds",           // a duration, and how often the loop went round
	"segmill_state_restore_seconds",  // a duration
	"segmill_state_bytes",            // depends on when Pebble compacts
	"segmill_fetch_idle_polls_total", // how often somebody looked
	"segmill_fetch_pauses_total",     // depends on when records arrive
}

// measure writes the metrics as text, without their descriptions. Of a histogram there
// are the count and the sum, to the millisecond: it is summed up by several tasks.
func (r *rig) measure() []string {
	r.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		r.Fatal(err)
	}
	var lines []string
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "segmill_kafka_") {
			continue // the client library's
		}
		steady := !slices.ContainsFunc(unsteady, func(name string) bool { return strings.HasPrefix(f.GetName(), name) })
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			name := f.GetName()
			if len(labels) > 0 {
				name += "{" + strings.Join(labels, ",") + "}"
			}
			switch {
			case !steady:
				lines = append(lines, name+" -")
			case m.GetHistogram() != nil:
				h := m.GetHistogram()
				lines = append(lines, fmt.Sprintf("%s count %d sum %.3f", name, h.GetSampleCount(), h.GetSampleSum()))
			default:
				lines = append(lines, fmt.Sprintf("%s %v", name, m.GetCounter().GetValue()+m.GetGauge().GetValue()))
			}
		}
	}
	return lines
}

// summary is what is kept of a recording: of every part the number of its lines and a
// hash of them; the metrics as they are.
func (rec *recording) summary() string {
	var b strings.Builder
	var names []string
	for name := range rec.parts {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		lines := rec.parts[name]
		if strings.HasPrefix(name, "metrics") {
			continue
		}
		sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
		fmt.Fprintf(&b, "%-20s %5d  %s\n", name, len(lines), hex.EncodeToString(sum[:]))
	}
	for _, name := range names {
		if strings.HasPrefix(name, "metrics") {
			fmt.Fprintf(&b, "\n%s:\n%s\n", name, strings.Join(rec.parts[name], "\n"))
		}
	}
	return b.String()
}

// write writes the whole recording to a folder.
func (rec *recording) write(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	for name, lines := range rec.parts {
		if err := os.WriteFile(filepath.Join(dir, name+".txt"), []byte(strings.Join(lines, "\n")+"\n"), 0o666); err != nil {
			return err
		}
	}
	return nil
}
