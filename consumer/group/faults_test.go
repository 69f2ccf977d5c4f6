package group

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/consumer/task"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
)

// liar stands between the engine and the broker and changes some answers to the
// request that ends a transaction: the broker has done what it was asked to, and
// the engine hears an error, or nothing.
type liar struct {
	mu    sync.Mutex
	error int   // answers to turn into an error
	code  int16 // which one; 0 is an unknown server error
	cut   int   // answers to cut off with the connection
	told  int   // lies so far
}

func (l *liar) lie(asError, cut int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.error, l.cut = l.error+asError, l.cut+cut
}

// lied reports whether it has told everything that it was to tell.
func (l *liar) lied() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told > 0 && l.error+l.cut == 0
}

func (l *liar) dial(ctx context.Context, network, host string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, host)
	if err != nil {
		return nil, err
	}
	return l.wrap(c), nil
}

func (l *liar) wrap(c net.Conn) net.Conn {
	return &lyingConn{Conn: c, l: l, ends: map[uint32]bool{}}
}

// lyingConn follows the frames of one connection.
type lyingConn struct {
	net.Conn
	l    *liar
	mu   sync.Mutex
	ends map[uint32]bool // correlation ids of EndTxn requests without answer
	in   []byte          // of an answer, not yet given on
	out  []byte          // ready to be given on
}

const endTxn = 26

// Write sees requests: size, key, version, correlation id.
func (c *lyingConn) Write(p []byte) (int, error) {
	if len(p) >= 12 && binary.BigEndian.Uint16(p[4:]) == endTxn {
		c.mu.Lock()
		c.ends[binary.BigEndian.Uint32(p[8:])] = true
		c.mu.Unlock()
	}
	return c.Conn.Write(p)
}

var errCut = errors.New("cut by the test")

// Read gives on whole answers only.
func (c *lyingConn) Read(p []byte) (int, error) {
	for len(c.out) == 0 {
		var b [4096]byte
		n, err := c.Conn.Read(b[:])
		if err != nil {
			return 0, err
		}
		c.in = append(c.in, b[:n]...)
		for len(c.in) >= 4 {
			size := 4 + int(binary.BigEndian.Uint32(c.in))
			if len(c.in) < size {
				break
			}
			if err := c.answer(c.in[:size]); err != nil {
				_ = c.Conn.Close()
				return 0, err
			}
			c.out = append(c.out, c.in[:size]...)
			c.in = c.in[size:]
		}
	}
	n := copy(p, c.out)
	c.out = c.out[n:]
	return n, nil
}

// answer changes an answer: size, correlation id, tags, throttle, error code.
func (c *lyingConn) answer(frame []byte) error {
	c.mu.Lock()
	id := binary.BigEndian.Uint32(frame[4:])
	isEnd := c.ends[id]
	delete(c.ends, id)
	c.mu.Unlock()
	if !isEnd {
		return nil
	}
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	switch {
	case c.l.cut > 0:
		c.l.cut--
		c.l.told++
		return errCut
	case c.l.error > 0:
		c.l.error--
		c.l.told++
		binary.BigEndian.PutUint16(frame[13:], uint16(cmp.Or(c.l.code, kerr.UnknownServerError.Code)))
	}
	return nil
}

// Whatever happens on the way, a run over the same history gives the same
// outputs in the same order, each once.
func TestFaultsChangeNothing(t *testing.T) {
	n := 3
	if testing.Short() {
		n = 1
	}
	for i, seed := range slices.Repeat(fixture.Seeds(t, n), 2) {
		delivery := config.Delivery(i % 2)
		t.Run(fmt.Sprintf("SEED=%d delivery %d", seed, delivery), func(t *testing.T) {
			clean := newFleet(t, 3)
			good, bad, wrong := clean.History(rand.New(rand.NewPCG(seed, 0)), 2_000)
			in := clean.start(fixture.Rules, vfs.NewMem(), rig.OverHistory)
			if err := in.wait(); err != nil {
				t.Fatal(err)
			}
			want := clean.Transcript()

			g := newFleet(t, 3)
			g.Delivery = delivery
			g.History(rand.New(rand.NewPCG(seed, 0)), 2_000)
			faults := g.runUnderFaults(rand.New(rand.NewPCG(seed, 1)))
			if diff := gocmp.Diff(want, g.Transcript()); diff != "" {
				t.Errorf("after %v: %s", faults, diff)
			}
			t.Logf("%d members, %d lines, %d repeats, %v", len(g.Members()), strings.Count(want, "\n"), g.Duplicates, faults)
			folded, dead, forwarded := g.Totals()
			folded -= uint64(g.forwardedAgain())
			if int(folded) != good || int(dead) != bad || int(forwarded) != wrong {
				t.Errorf("after %v: folded %d, dead letters %d, forwarded %d; want %d, %d, %d", faults, folded, dead, forwarded, good, bad, wrong)
			}
			g.verifyFromNothing(fixture.Rules, func(c *config.Config) { c.Time.Clock = config.EventsClock })
		})
	}
}

// forwardedAgain returns how many records were forwarded that had been before: at
// least once, forwards repeat as outputs do, and are folded as repeats.
func (g *fleet) forwardedAgain() (n int) {
	g.Helper()
	seen := map[feed.Origin]bool{}
	for _, records := range g.Read(rig.App + ".repartition") {
		for _, r := range records {
			from, err := feed.OriginOf(r, isAny)
			if err != nil {
				g.Fatal(err)
			}
			if seen[from] {
				n++
			}
			seen[from] = true
		}
	}
	if n > 0 && g.Delivery == config.ExactlyOnce {
		g.Errorf("%d records were forwarded twice", n)
	}
	return n
}

// runUnderFaults runs over the history to its end while things go wrong, and
// returns what did.
func (g *fleet) runUnderFaults(rng *rand.Rand) (faults []string) {
	var l liar
	var handles []*kfake.FaultHandle
	inject := func(f kfake.Fault) {
		h := g.Broker.Fault(f)
		handles = append(handles, h)
	}
	defer func() {
		for _, h := range handles {
			h.Remove() // the test still has to read what came out
		}
	}()
	files := vfs.NewCrashableMem()
	config := func(c *config.Config) {
		rig.OverHistory(c)
		c.Kafka = append(c.Kafka, kgo.Dialer(l.dial))
	}
	in := g.start(fixture.Rules, files, config)
	for range 12 {
		// Something goes wrong some transactions later.
		seq := func() (n uint64) {
			for _, t := range in.o.Status().Tasks {
				n += t.Seq
			}
			return n
		}
		from, enough := seq(), uint64(1+rng.IntN(12))
		ended := false
		g.Eventually("some transactions", func() bool {
			select {
			case err := <-in.done:
				in.done <- err
				ended = true
			default:
			}
			return ended || seq() >= from+enough || seq() < from
		})
		if ended {
			break
		}
		fault := []string{"answer", "cut", "refused", "produce", "fetch", "init", "kill", "kill, part of the disk", "kill, no disk", "stop", "coordinator", "rival"}[rng.IntN(12)]
		faults = append(faults, fault)
		switch fault {
		case "answer":
			l.lie(1, 0)
		case "cut":
			l.lie(0, 1)
		case "refused":
			inject(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.UnknownServerError, Count: 1 + rng.IntN(2)})
		case "produce":
			errs := []*kerr.Error{kerr.UnknownServerError, kerr.NotEnoughReplicasAfterAppend, kerr.InvalidProducerEpoch, kerr.NotLeaderForPartition, kerr.PolicyViolation}
			inject(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: errs[rng.IntN(len(errs))], Count: 1 + rng.IntN(2)})
		case "fetch":
			inject(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.UnknownServerError, Count: 1 + rng.IntN(3)})
		case "init":
			inject(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.CoordinatorNotAvailable, Count: 1 + rng.IntN(3)})
			l.lie(1, 0)
		case "coordinator":
			g.Broker.RehashCoordinators()
		case "rival":
			g.rival(config)
		default:
			if fault == "stop" {
				in.stop()
			} else {
				in.crash()
			}
			switch fault {
			case "kill, part of the disk":
				files = files.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
			case "kill, no disk":
				files = vfs.NewCrashableMem()
			}
			in = g.start(fixture.Rules, files, config)
		}
	}
	if err := in.wait(); err != nil {
		g.Fatalf("after %v: %v", faults, err)
	}
	return faults
}

// rival takes every partition away from whoever has it, works for a while, and is
// killed.
func (g *fleet) rival(change func(*config.Config)) {
	o, end := g.byHand(change)
	defer end()
	tasks := map[int32]*task.Task{}
	for p := range g.Partitions {
		tasks[p] = o.startByHand(p)
	}
	from := map[int32]uint64{}
	g.Eventually("the rival works", func() bool {
		worked := 0
		for p, t := range tasks {
			st := t.Status()
			if from[p] == 0 && st.State != task.Acquiring {
				from[p] = st.Seq + 1
			}
			if st.State == task.Finished || from[p] > 0 && st.Seq > from[p]+1 || st.State == task.Waiting {
				worked++
			}
		}
		return worked == len(tasks)
	})
	o.kill()
}
