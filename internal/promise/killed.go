package promise

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// Deliveries are the values of delivery.
var Deliveries = []string{"exactly_once", "at_least_once"}

// Killed lets an engine read a history and kills it again and again, half of the
// times with the loss of its disk. In the end everything was emitted, and with
// transactions nothing twice.
func Killed(t *testing.T, k Kafka, delivery string) {
	r := SeedOf(t)
	j := New(t, k, Setup{Delivery: delivery, Clock: "events"})
	at := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	j.Load.Customers = 400
	for range 60_000 {
		at = at.Add(time.Duration(r.IntN(60)) * time.Second)
		j.Load.Publish(j.Load.Event(r, at))
	}
	j.Load.Flush()
	j.Until = at.Add(20 * 24 * time.Hour)
	in := j.Instance("a", "commit_interval: 5ms")
	kills := 0
	for range 8 {
		p := in.Start()
		j.AwaitCommit(p)
		time.Sleep(time.Duration(r.IntN(150)) * time.Millisecond)
		if !p.Running() {
			break
		}
		p.Kill()
		kills++
		if r.IntN(2) == 0 {
			in.LoseDisk()
		}
	}
	if err := in.Start().End(); err != nil {
		t.Fatalf("run --until: %v", err)
	}
	j.Judge(nil)
	if t.Logf("%d kills", kills); kills < 3 {
		t.Error("the engine was too fast to be killed three times: make the history longer")
	}
}

// Live lets two engines share the partitions while events come, by the wall clock.
// They are killed, with and without their disk, stopped in good order, and frozen
// until the other one has their partitions.
func Live(t *testing.T, k Kafka, delivery string, rounds int) {
	r := SeedOf(t)
	j := New(t, k, Setup{Rules: Seconds, Delivery: delivery})
	j.Load.Customers = 100
	var ins [2]*Instance
	var ps [2]*Process
	stop := j.Load.Begin(r.Uint64(), 60)
	for i := range ins {
		ins[i] = j.Instance(fmt.Sprint(i), "")
		ps[i] = ins[i].Start()
	}
	j.AwaitCommit(ps[:]...)
	for round := range rounds {
		i := r.IntN(2)
		switch round % 4 {
		case 0, 1:
			ps[i].Kill()
			if round%4 == 1 {
				ins[i].LoseDisk()
			}
			time.Sleep(time.Second)
			ps[i] = ins[i].Start()
		case 2:
			ps[i].Stop()
			time.Sleep(time.Second)
			ps[i] = ins[i].Start()
		case 3:
			ps[i].Send(syscall.SIGSTOP)
			time.Sleep(SessionTimeout + 5*time.Second)
			ps[i].Send(syscall.SIGCONT)
		}
		time.Sleep(2 * time.Second)
		j.AwaitCommit(ps[:]...)
	}
	stop()
	j.Finish(9*time.Second, ps[:]...)
	j.Judge(nil)
}

// Finish waits until everything is read and what is due by time alone within a
// time is emitted, and stops the instances.
func (j *Job) Finish(settle time.Duration, ps ...*Process) {
	j.Helper()
	j.AwaitRead()
	time.Sleep(settle)
	for _, p := range ps {
		p.Stop()
	}
}
