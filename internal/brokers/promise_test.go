//go:build brokers

package brokers

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/segmill/segmill/internal/promise"
)

func TestKilled(t *testing.T) {
	parallel(t)
	for _, delivery := range promise.Deliveries {
		t.Run(delivery, func(t *testing.T) { promise.Killed(t, kafka(one.get(t)), delivery) })
	}
}

func TestLive(t *testing.T) {
	parallel(t)
	for _, delivery := range promise.Deliveries {
		t.Run(delivery, func(t *testing.T) {
			t.Parallel()
			rounds := 4
			if long {
				rounds = 12
			}
			promise.Live(t, kafka(one.get(t)), delivery, rounds)
		})
	}
}

// The same on other versions of Kafka and of the transaction protocol.
func TestVersions(t *testing.T) {
	parallel(t)
	versions := []Options{{Version: "3.9.1"}, {TransactionVersion: "0"}}
	if long {
		versions = []Options{
			{Version: "3.9.1"},
			{Version: "4.0.0", TransactionVersion: "0"},
			{Version: "4.0.0", TransactionVersion: "1"},
			{Version: "4.0.0"},
			{TransactionVersion: "0"},
			{TransactionVersion: "1"},
			{TransactionVersion: "2"},
		}
	}
	for _, o := range versions {
		t.Run(o.Version+"/"+o.TransactionVersion, func(t *testing.T) {
			c := start(t, o)
			if !long {
				promise.Live(t, kafka(c), "exactly_once", 2)
				return
			}
			for _, delivery := range promise.Deliveries {
				t.Run(delivery, func(t *testing.T) { promise.Live(t, kafka(c), delivery, 8) })
				t.Run(delivery, func(t *testing.T) { promise.Killed(t, kafka(c), delivery) })
			}
		})
	}
}

// hasAll reports whether a log says of all partitions that they were restored or copied.
func hasAll(log string) bool {
	has := map[string]bool{}
	for line := range strings.Lines(log) {
		if strings.Contains(line, `"restored"`) || strings.Contains(line, `"standby copy is current"`) {
			for p := range 4 {
				if name := fmt.Sprintf(`"partition":%d,`, p); strings.Contains(line, name) {
					has[name] = true
				}
			}
		}
	}
	return len(has) == 4
}

// An instance dies with its disk. The other one has copies of all partitions, and
// goes on with them without reading a changelog.
func TestStandbyTakeover(t *testing.T) {
	parallel(t)
	r := promise.SeedOf(t)
	j := promise.New(t, kafka(one.get(t)), promise.Setup{Rules: promise.Seconds})
	stop := j.Load.Begin(r.Uint64(), 60)
	var ins [2]*promise.Instance
	var ps [2]*promise.Process
	for i := range ins {
		ins[i] = j.Instance(fmt.Sprint(i), "standby: 1")
		ps[i] = ins[i].Start()
		// The second one has something to copy, and says when it has: of an empty
		// changelog it would say nothing.
		j.AwaitCommit(ps[:i+1]...)
	}
	ins[1].AwaitLog("standby copy is current")
	// The copies of the last partitions as well, which can take long on a busy machine. Of a
	// partition that is its own, an instance may say nothing.
	for deadline := time.Now().Add(20 * time.Second); !hasAll(ps[1].Logged()) && time.Now().Before(deadline); {
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(time.Second)
	before := len(ps[1].Logged())
	ps[0].Kill()
	ins[0].LoseDisk()
	time.Sleep(promise.SessionTimeout)
	stop()
	j.AwaitRead() // by the one that is left, all partitions
	for line := range strings.Lines(ps[1].Logged()[before:]) {
		if strings.Contains(line, `"restored"`) && !strings.Contains(line, `"tail":true`) {
			t.Errorf("a changelog was read from its beginning: %s", line)
		}
	}
	j.Finish(9*time.Second, ps[1])
	j.Judge(nil)
}
