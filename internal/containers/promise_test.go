package containers

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"
)

var deliveries = []string{"exactly_once", "at_least_once"}

// seedOf returns the seed of a test, from SEED or by chance, and logs it.
func seedOf(t *testing.T) uint64 {
	seed := rand.Uint64N(1 << 40)
	if s := os.Getenv("SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("SEED=%s: %v", s, err)
		}
	}
	t.Logf("SEED=%d", seed)
	return seed
}

// An engine reads a history and is killed again and again, half of the times with
// the loss of its disk. In the end everything was told, and with transactions
// nothing twice.
func TestKilled(t *testing.T) {
	onEach(t, func(t *testing.T, address string) {
		for _, delivery := range deliveries {
			t.Run(delivery, func(t *testing.T) {
				r := rand.New(rand.NewPCG(seedOf(t), 0))
				c := newCluster(t, address, delivery, "testdata/rules.yaml", "events")
				begin := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
				at := begin
				c.customers = 400
				for range 60_000 {
					at = at.Add(time.Duration(r.IntN(60)) * time.Second)
					c.publish(c.randomEvent(r, at))
				}
				c.flush()
				until := at.Add(20 * 24 * time.Hour)
				in := c.instance("a", "commit_interval: 5ms")
				kills := 0
				for range 8 {
					p := in.start("--until", until.Format(time.RFC3339))
					c.awaitCommit(p)
					time.Sleep(time.Duration(r.IntN(150)) * time.Millisecond)
					if !p.running() {
						break
					}
					p.signal(syscall.SIGKILL)
					p.wait()
					kills++
					if r.IntN(2) == 0 {
						in.loseDisk()
					}
				}
				p := in.start("--until", until.Format(time.RFC3339))
				if err := p.wait(); err != nil {
					t.Fatalf("run --until: %v", err)
				}
				c.judge(until)
				if t.Logf("%d kills", kills); kills < 3 {
					t.Error("the engine was too fast to be killed three times: make the history longer")
				}
			})
		}
	})
}

// Two engines share the partitions while events come, by the wall clock; they are
// killed, stopped in good order, and frozen until the other one has their
// partitions.
func TestLive(t *testing.T) {
	onEach(t, func(t *testing.T, address string) {
		for _, delivery := range deliveries {
			t.Run(delivery, func(t *testing.T) {
				r := rand.New(rand.NewPCG(seedOf(t), 1))
				c := newCluster(t, address, delivery, "testdata/live.yaml", "wall")
				var ins [2]*instance
				var ps [2]*process
				for i := range ins {
					ins[i] = c.instance(fmt.Sprint(i), "")
					ps[i] = ins[i].start()
				}
				c.awaitCommit(ps[:]...)
				for round := range 6 {
					i := r.IntN(2)
					switch kind := round % 3; kind {
					case 0:
						ps[i].signal(syscall.SIGKILL)
						ps[i].wait()
						c.live(r, time.Second)
						ps[i] = ins[i].start()
					case 1:
						ps[i].signal(syscall.SIGTERM)
						if err := ps[i].wait(); err != nil {
							t.Errorf("stopped: %v", err)
						}
						c.live(r, time.Second)
						ps[i] = ins[i].start()
					case 2:
						ps[i].signal(syscall.SIGSTOP)
						c.live(r, sessionTimeout+5*time.Second)
						ps[i].signal(syscall.SIGCONT)
					}
					c.live(r, 3*time.Second)
					c.awaitCommit(ps[:]...)
				}
				// What is due by time alone is told: the longest wait of the rules is shorter.
				c.flush()
				time.Sleep(15 * time.Second)
				for i := range ps {
					ps[i].signal(syscall.SIGTERM)
					if err := ps[i].wait(); err != nil {
						t.Errorf("stopped: %v", err)
					}
				}
				c.judge(time.Time{})
			})
		}
	})
}
