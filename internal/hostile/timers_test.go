//go:build hostile

package hostile

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestOpenTransaction: a purchase was acknowledged behind a transaction that somebody
// leaves open, on each partition, so its cart is not left; the partition says what it
// waits for, and canaries behind it come through once the transaction has ended.
func TestOpenTransaction(t *testing.T) {
	for name, end := range map[string]kgo.TransactionEndTry{"committed": kgo.TryCommit, "aborted": kgo.TryAbort} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "open-"+name, "")
			s.start(t)
			s.sing(t)()
			stranger := s.stranger(t, "purchase")
			var carts, bought []*kgo.Record
			for p := range int32(partitions) {
				c := customer("cart", p)
				carts = append(carts, event("web", p, c, `,"name":"product_added","items":[{"product_id":"p"}]`))
				bought = append(bought, event("purchase", p, c, `,"revenue":1`))
			}
			s.produce(t, carts...)
			s.produce(t, bought...)
			for p := range int32(partitions) {
				eventually(t, 30*time.Second, "it is shown", func() bool {
					for line := range strings.Lines(s.p.ready()) {
						if strings.HasPrefix(line, "partition "+string('0'+p)) && strings.Contains(line, s.app+".purchase since ") && strings.Contains(line, "a transaction is open at offset") {
							return true
						}
					}
					return false
				})
			}
			// By the time of its event the cart is left 6 s after it, and the grace of 2 s.
			time.Sleep(time.Until(carts[0].Timestamp.Add(11 * time.Second)))
			s.out.mu.Lock()
			if n := len(s.out.fired); n > 0 {
				t.Errorf("%d carts are left although a purchase was acknowledged", n)
			}
			s.out.mu.Unlock()
			if err := stranger.EndTransaction(context.Background(), end); err != nil {
				t.Fatal(err)
			}
			for _, r := range bought {
				s.entered(t, string(r.Key), "canary", soon)
			}
			s.sing(t)()
			if end == kgo.TryCommit { // its own records are no events
				for p := range int32(partitions) {
					s.dead(t, &kgo.Record{Topic: s.app + ".purchase", Partition: p, Offset: 1}, "missing")
				}
			}
			s.out.mu.Lock()
			if n := len(s.out.fired); n > 0 {
				t.Errorf("%d carts are left although there was a purchase", n)
			}
			s.out.mu.Unlock()
			s.end(t)
		})
	}
	classes.Add(2)
}

// stranger has a record in an open transaction on each partition of a topic.
func (s *site) stranger(t *testing.T, topic string) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(s.brokers, ",")...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.TransactionalID(s.app+"-stranger"), kgo.TransactionTimeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for p := range int32(partitions) {
		if err := cl.ProduceSync(context.Background(), &kgo.Record{Topic: s.app + "." + topic, Partition: p, Value: []byte("{}")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	return cl
}
