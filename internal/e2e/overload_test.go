//go:build e2e

package e2e

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/schemas"
)

// mostMemory is what a process may take with smallMemory. A limit of Go's is for
// its heap and not a hard one; beside it are the program itself and its stacks.
const mostMemory = 384 << 20

// hostileRecords are the records of the corpus that must be refused under rules,
// by an engine without a registry.
func hostileRecords(t *testing.T, rules string) []*kgo.Record {
	t.Helper()
	loaded, err := app.LoadRules([]string{rules})
	if err != nil {
		t.Fatal(err)
	}
	read, topics := readerOf(t, loaded)
	a, err := txtar.ParseFile(root + "/schemas/testdata/bad.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var l []*kgo.Record
	for _, f := range a.Files {
		stream, _, _ := strings.Cut(f.Name, " ")
		value := []byte(strings.TrimSuffix(string(f.Data), "\n"))
		if h, ok := strings.CutPrefix(string(value), "hex "); ok {
			if value, err = hex.DecodeString(strings.ReplaceAll(h, " ", "")); err != nil {
				t.Fatal(err)
			}
		}
		rec := schemas.Record{Topic: "events." + stream, Key: []byte("key"), Value: value}
		var ev engine.Event
		var bad *schemas.BadInput
		if slices.Contains(topics, rec.Topic) {
			if _, err := read(&rec, &ev); errors.As(err, &bad) {
				l = append(l, &kgo.Record{Topic: rec.Topic, Value: value})
			}
		}
	}
	if len(l) < 60 {
		t.Fatalf("only %d hostile records", len(l))
	}
	return l
}

// A process with 256 MiB is given a backlog of many times that: records of nearly
// 1 MiB, small ones among which every hundredth is hostile, and then nothing but
// hostile ones. Its memory stays bounded, it reads everything, each hostile record
// is one dead letter, and the outputs are right. In the middle it is killed and
// loses its state, so that it restores with little memory too. OVERLOAD is how many
// MiB of large records.
func TestOverload(t *testing.T) {
	const rules = "testdata/hours.yaml"
	r := rand.New(rand.NewPCG(seedOf(t), 0))
	f := newFlow(t, facts(r, 3_000, 20, inOrder, 20*time.Minute))
	o := overload{flow: f, r: r, hostile: hostileRecords(t, rules)}
	e := f.instance(t, "over", rules)
	e.env = []string{smallMemory}
	large := share(t, "OVERLOAD", 400, 400)
	begin := time.Now()
	var peaks [2]int64
	for half := range peaks {
		o.publish(t, len(f.l)*(half+1)/2, large*(1-half), 20_000*half)
		p := e.start(t)
		peak := watchMemory(p)
		f.b.drainedWithin(t, "over", 3*time.Minute)
		if half == 0 {
			p.kill(t)
			e.loseState(t)
		} else {
			p.stop(t)
		}
		peaks[half] = <-peak
	}
	t.Logf("%d MiB of large records, %d small ones, %d hostile: in %s, with %d and %d MiB at most",
		large, len(f.l)-large, o.bad, time.Since(begin).Round(time.Millisecond), peaks[0]>>20, peaks[1]>>20)
	if n := slices.Max(peaks[:]); n > mostMemory {
		t.Errorf("%d MiB were in use, want at most %d", n>>20, mostMemory>>20)
	}
	if report := f.compare(t, e, "over", rules); report.DeadLetters != o.bad {
		t.Errorf("%d dead letters for %d hostile records", report.DeadLetters, o.bad)
	}
}

// overload is a flow with large and hostile records.
type overload struct {
	*flow
	r       *rand.Rand
	hostile []*kgo.Record
	bad     int // how many hostile records are published
}

// publish publishes the facts before bound, the first of them large, every
// hundredth followed by a hostile record, and then a flood of hostile ones.
func (o *overload) publish(t *testing.T, bound, large, flood int) {
	t.Helper()
	var rs []*kgo.Record
	pad := fmt.Sprintf(`"note":%q,`, strings.Repeat("x", 990_000))
	for ; o.next < bound; o.next++ {
		c, extra := o.l[o.next], ""
		if large > 0 {
			large--
			extra = pad
		}
		rs = append(rs, &kgo.Record{Topic: "events." + c.stream, Key: []byte(c.customer), Value: []byte(c.json(extra)), Timestamp: c.at})
		if o.next%100 == 0 {
			rs = append(rs, o.bite(c.at))
		}
		if large%20 == 1 {
			o.b.produce(t, rs)
			rs = rs[:0]
		}
	}
	// Not before the last fact: facts of the same partition would have to wait for
	// their turn, and come late.
	for range flood {
		rs = append(rs, o.bite(o.l[bound-1].at))
	}
	o.b.produce(t, rs)
}

// bite returns a hostile record on a partition drawn at random.
func (o *overload) bite(at time.Time) *kgo.Record {
	o.bad++
	h := o.hostile[o.r.IntN(len(o.hostile))]
	return &kgo.Record{Topic: h.Topic, Key: fmt.Appendf(nil, "h%d", o.r.IntN(1_000)), Value: h.Value, Timestamp: at}
}

// watchMemory returns a channel that gives the greatest resident size of a process
// in bytes, once it has ended.
func watchMemory(p *process) <-chan int64 {
	peak := make(chan int64, 1)
	go func() {
		most := int64(0)
		for p.running() {
			most = max(most, highWater(p.Pid))
			time.Sleep(50 * time.Millisecond)
		}
		peak <- most
	}()
	return peak
}

// highWater returns VmHWM of a process in bytes, 0 if it has ended.
func highWater(pid int) int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	n, _ := strconv.ParseInt(strings.TrimSpace(strings.SplitN(rest, "kB", 2)[0]), 10, 64)
	return n << 10
}
