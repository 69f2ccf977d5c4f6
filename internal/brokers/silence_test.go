//go:build brokers

package brokers

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/internal/promise"
)

// What time alone makes fire while brokers die is compared with what a run over the
// same records fires afterwards, without silence_grace and with auto: a producer that
// has lost a leader sends late, and what it sends may have cleared the cart.
func TestSilenceWhileBrokersDie(t *testing.T) {
	if !long {
		t.Skip("part of the long form: LONG=1")
	}
	c, r := start(t, Options{Nodes: 3}), promise.SeedOf(t)
	plain := promise.New(t, kafka(c), promise.Setup{
		// A client that was refused for some time tries again only so soon.
		Rules: promise.Seconds, Producer: []kgo.Opt{kgo.RetryBackoffFn(func(int) time.Duration { return 15 * time.Second })},
	})
	plain.Load.Customers = 600
	waiting := plain.Over(time.Time{})
	waiting.Clock = "wall"
	p, w := plain.Instance("plain", "").Start(), waiting.Instance("waiting", "silence_grace: auto").Start()
	stop := plain.Load.Begin(r.Uint64(), 100)
	plain.AwaitCommit(p)
	time.Sleep(70 * time.Second) // auto knows nothing of the minute before its start
	for _, id := range []int{1, 2} {
		if err := c.Kill(id); err != nil {
			t.Fatal(err)
		}
		if err := c.AwaitAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		if err := c.Launch(id); err != nil {
			t.Fatal(err)
		}
		if err := c.AwaitAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(70 * time.Second)
	}
	stop()
	plain.Finish(20*time.Second, p)
	time.Sleep(60 * time.Second)
	waiting.Finish(0, w)
	over := plain.Over(time.Now())
	if err := over.Instance("over", "").Start("--until", over.Until.Format(time.RFC3339Nano)).End(); err != nil {
		t.Fatal(err)
	}
	right := fired(over)
	wrong := func(j *promise.Job) (wrong, all int) {
		for f := range fired(j) {
			if all++; !right[f] {
				wrong++
			}
		}
		return wrong, all
	}
	pw, pa := wrong(plain)
	ww, wa := wrong(waiting)
	t.Logf("longest acknowledgement %s; fired by time alone: %d afterwards; live %d, of which wrong %d (%.2f %%); with silence_grace: auto %d, of which wrong %d (%.2f %%)",
		plain.Load.Longest(), len(right), pa, pw, 100*float64(pw)/float64(pa), wa, ww, 100*float64(ww)/float64(wa))
	if pw > 10 && ww >= pw {
		t.Error("auto is of no use")
	}
}

// fired returns what time alone has caused: triggers, and exits and entries whose cause is
// a timer.
func fired(j *promise.Job) map[string]bool {
	all := map[string]bool{}
	for _, r := range j.Records(j.Topic("triggers"), j.Topic("changes")) {
		var o struct {
			Customer  string `json:"customer_id"`
			Segment   string
			Trigger   string
			Action    string
			Cause     string
			Effective string `json:"effective_at"`
			Fired     string `json:"fired_at"`
		}
		if err := json.Unmarshal(r.Value, &o); err != nil {
			j.Fatal(err)
		}
		if o.Trigger != "" || o.Cause == "timer" {
			all[fmt.Sprint(o.Customer, o.Segment, o.Trigger, o.Action, o.Effective, o.Fired)] = true
		}
	}
	return all
}
