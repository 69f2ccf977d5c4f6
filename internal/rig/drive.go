package rig

import (
	"context"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/consumer/task"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/state"
)

// Driven is a task that belongs to no group and goes from one named point of the
// protocol to the next only when the test says so.
type Driven struct {
	g        *Rig
	Task     *task.Task
	instance task.Instance
	store    *state.Store

	reached chan string // by the task, which then waits for
	pass    chan error  // what the point is to return
	held    bool        // at a point: the test has yet to say what it returns
	freed   chan struct{}
	free    func()

	release, kill context.CancelFunc
	helpers       sync.WaitGroup
	ended         chan error
}

// Drive runs the task of a partition on files. Its instance has this task alone.
func (g *Rig) Drive(text string, files vfs.FS, partition int32, change func(*config.Config)) *Driven {
	g.Helper()
	d := &Driven{g: g, store: g.Store(files), reached: make(chan string), pass: make(chan error), freed: make(chan struct{}), ended: make(chan error, 1)}
	d.free = sync.OnceFunc(func() { close(d.freed) })
	cfg := g.Config(text, d.store)
	if change != nil {
		change(&cfg)
	}
	FailAt(g, &cfg, d.at)
	if err := cfg.Validate(); err != nil {
		g.Fatal(err)
	}
	d.instance = task.NewInstance(cfg)
	in := &d.instance
	var err error
	if in.Cluster, err = in.Config.Connect(); err != nil {
		g.Fatal(err)
	}
	hard, kill := context.WithCancel(context.Background())
	live, release := context.WithCancel(hard)
	d.kill, d.release = kill, release
	g.Cleanup(func() { d.free(); kill() })
	found, err := in.Topics().Prepare(hard)
	if err != nil {
		g.Fatal(err)
	}
	in.Found(found)
	in.Ends = feed.NewEnds(in.Cluster, in.Config.Now, func() (engine.Millis, bool) { return in.Config.NowMillis(), true }, in.Senders)
	d.helpers.Go(func() { in.Ends.Run(hard) })
	d.Task = task.New(in, partition)
	go func() { d.ended <- d.Task.Run(live, hard) }()
	return d
}

// at holds the task at a point.
func (d *Driven) at(_ int32, point string) error {
	select {
	case d.reached <- point:
	case <-d.freed:
		return nil
	}
	select {
	case err := <-d.pass:
		return err
	case <-d.freed:
		return nil
	}
}

// Next lets the task go on, and returns the point at which it stops next. It fails the
// test if the task comes to none: it may have nothing to do.
func (d *Driven) Next() string {
	d.g.Helper()
	d.goOn(nil)
	select {
	case point := <-d.reached:
		d.held = true
		return point
	case err := <-d.ended:
		d.ended <- err
		d.g.Fatalf("the task has ended: %v", err)
	case <-time.After(30 * time.Second):
		d.g.Fatalf("the task comes to no point: %+v", d.Task.Status())
	}
	return ""
}

// Until lets the task go on to a point.
func (d *Driven) Until(point string) {
	d.g.Helper()
	for at := d.Next(); at != point; {
		at = d.Next()
	}
}

// Fail makes the point at which the task is held an error: the task drops what it has
// and acquires its partition again.
func (d *Driven) Fail() { d.goOn(ErrCrash) }

func (d *Driven) goOn(err error) {
	if d.held {
		d.held = false
		d.pass <- err
	}
}

// Change gives the task other rules.
func (d *Driven) Change(r *config.Rules) { d.instance.Change(r) }

// Free lets the task run without stopping at points any more.
func (d *Driven) Free() { d.free() }

// Kill ends the task where it is, as if its process was killed: what it had begun is
// neither committed nor aborted.
func (d *Driven) Kill() {
	d.g.Helper()
	d.kill()
	d.goOn(ErrCrash)
	_ = d.wait() // what it was doing has failed, and nobody is left to hear of it
}

// Stop ends the task in good order: it commits what it has taken.
func (d *Driven) Stop() {
	d.g.Helper()
	d.free()
	d.release()
	if err := d.wait(); err != nil {
		d.g.Errorf("the task: %v", err)
	}
}

func (d *Driven) wait() error {
	d.g.Helper()
	d.free()
	err := <-d.ended
	d.kill()
	d.helpers.Wait()
	d.instance.Cluster.Close()
	if cerr := d.store.Close(); cerr != nil {
		d.g.Errorf("close: %v", cerr)
	}
	return err
}
