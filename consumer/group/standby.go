package group

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/replica"
)

// standbys are the standby copies of this instance. Which ones is computed from
// what the group coordinator says: instances do not talk to each other.
type standbys struct {
	o     *Owner
	loads chan struct{} // whole changelogs that are being read
	// warm is closed when the instance may join the group. An instance that is new
	// copies first what it would be standby for; the balancer then gives it
	// partitions that it has a copy of.
	warm chan struct{}

	// Of the goroutine of run:
	since time.Time // when something moved last, or the coordinator answered
	steps int

	copies map[int32]*replica.Standby // guarded by o.mu
}

const (
	// standbyLoads is how many whole changelogs are read at once.
	standbyLoads = 2
	// warmPatience is how long nothing may move before an instance joins the group
	// with what it has.
	warmPatience = 30 * time.Second
)

func newStandbys(o *Owner) *standbys {
	s := &standbys{
		o: o, loads: make(chan struct{}, standbyLoads), warm: make(chan struct{}), copies: map[int32]*replica.Standby{}, since: o.Config.Now(),
	}
	if o.Config.Standby == 0 {
		close(s.warm)
	}
	return s
}

// balancer returns the balancer of the group.
func (s *standbys) balancer() kgo.GroupBalancer {
	stock := kgo.CooperativeStickyBalancer()
	if s.o.Config.Standby == 0 {
		return stock
	}
	return &warmBalancer{GroupBalancer: stock, topic: s.o.Config.Changelog(), copies: s.current}
}

// run keeps copies until ctx ends.
func (s *standbys) run(ctx context.Context) {
	if s.o.Config.Standby == 0 {
		return
	}
	defer s.endAll()
	tick := time.NewTicker(s.o.Config.Fixed.StandbyEach)
	defer tick.Stop()
	for {
		s.round(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *standbys) round(ctx context.Context) {
	asking, cancel := context.WithTimeout(ctx, broker.RequestTimeout)
	defer cancel()
	group, err := s.o.sharing(asking)
	if err != nil {
		s.o.Config.Logger.Debug("group not described; standbys stay as they are", "error", err)
	} else {
		s.follow(ctx, s.mine(group))
	}
	s.tellEnds(asking)
	s.gauges()
	select {
	case <-s.warm:
	default:
		if s.mayJoin(group, err) {
			close(s.warm)
		}
	}
}

// errUnsettled is returned while the group rebalances.
var errUnsettled = errors.New("the group is not stable")

// sharing asks the coordinator who owns what.
func (o *Owner) sharing(ctx context.Context) (sharing, error) {
	s := sharing{owners: map[int32]string{}}
	got, err := kadm.NewClient(o.Cluster.Admin).DescribeGroups(ctx, o.Config.App)
	if err != nil {
		return s, err
	}
	g := got[o.Config.App]
	switch {
	case errors.Is(g.Err, kerr.GroupIDNotFound):
		return s, nil
	case g.Err != nil:
		return s, g.Err
	case len(g.Members) > 0 && g.State != "Stable":
		return s, errUnsettled
	}
	for _, m := range g.Members {
		name := m.MemberID
		if m.InstanceID != nil {
			name = *m.InstanceID
		}
		s.members = append(s.members, name)
		if a, ok := m.Assigned.AsConsumer(); ok {
			for _, t := range a.Topics {
				for _, p := range t.Partitions {
					if t.Topic == o.Config.Changelog() {
						s.owners[p] = name
					}
				}
			}
		}
	}
	if len(s.members) > 0 && len(s.owners) < int(o.Partitions) {
		return s, errUnsettled
	}
	slices.Sort(s.members)
	return s, nil
}

// mine returns the partitions that this instance should keep a copy of.
func (s *standbys) mine(group sharing) map[int32]bool {
	me := s.o.Config.Group.Instance
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	member := slices.Contains(group.members, me)
	mine := map[int32]bool{}
	switch {
	case !member && s.o.joined: // it will be a member again, or is leaving
		for p := range s.copies {
			mine[p] = true
		}
		return mine
	case !member:
		return firstShare(group, me)
	}
	for p, names := range spread(group, s.o.Config.Standby) {
		mine[p] = slices.Contains(names, me)
	}
	return mine
}

// follow starts the copies that are missing and ends those that are not to be.
// Their files stay: they are what to go on from another time.
func (s *standbys) follow(ctx context.Context, mine map[int32]bool) {
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	for p, c := range s.copies {
		if !mine[p] {
			c.Stop()
		}
		if over(c.Done()) {
			delete(s.copies, p)
			s.o.Config.Metrics.StandbyLag.DeleteLabelValues(label(p))
		}
	}
	for p, is := range mine {
		task := s.o.tasks[p]
		if is && p < s.o.Partitions && s.copies[p] == nil && (task == nil || over(task.done)) {
			s.copies[p] = s.start(ctx, p)
		}
	}
}

func over(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

func (s *standbys) start(hard context.Context, p int32) *replica.Standby {
	o := s.o
	log := o.Config.Logger.With("partition", p, "standby", true)
	return replica.Follow(hard, replica.StandbyOptions{
		Options: o.CopyOptions(p, o.Config.Store.Task(p), log),
		Loads:   s.loads, Lag: o.Config.Metrics.StandbyLag.WithLabelValues(label(p)), Read: o.Config.Metrics.StandbyRead, Fail: o.fail,
	})
}

// label is the value of the label of a partition.
func label(p int32) string { return strconv.Itoa(int(p)) }

// end ends the copy of a partition that this instance is to own, under o.mu, and
// returns what is closed when it is over.
func (s *standbys) end(p int32) <-chan struct{} {
	c := s.copies[p]
	if c == nil {
		none := make(chan struct{})
		close(none)
		return none
	}
	c.Stop()
	return c.Done()
}

// endAll ends all copies and waits for them.
func (s *standbys) endAll() {
	s.o.mu.Lock()
	copies := maps.Clone(s.copies)
	clear(s.copies)
	s.o.mu.Unlock()
	for _, c := range copies {
		c.Stop()
	}
	for p, c := range copies {
		<-c.Done()
		s.o.Config.Metrics.StandbyLag.DeleteLabelValues(label(p))
	}
	s.o.Config.Metrics.Standbys.Reset()
}

// all returns the copies that are kept now.
func (s *standbys) all() map[int32]*replica.Standby {
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	return maps.Clone(s.copies)
}

// tellEnds asks for the ends of the changelog, for all copies together.
func (s *standbys) tellEnds(ctx context.Context) {
	copies := s.all()
	if len(copies) == 0 {
		return
	}
	topic := s.o.Config.Changelog()
	asked := s.o.Config.NowMillis()
	got, _ := s.o.Cluster.List(ctx, broker.LastStable, []string{topic}, slices.Collect(maps.Keys(copies)))
	for p, end := range got[topic] {
		copies[p].Hear(end.Offset, asked)
	}
}

func (s *standbys) gauges() {
	m := s.o.Config.Metrics
	count := map[replica.StandbyState]int{}
	for p, c := range s.all() {
		state, lag, _, _ := c.Look()
		if over(c.Done()) {
			continue
		}
		count[state]++
		m.StandbyLag.WithLabelValues(label(p)).Set(float64(lag))
	}
	for _, state := range []replica.StandbyState{replica.Loading, replica.Current, replica.Behind, replica.Failing} {
		m.Standbys.WithLabelValues(string(state)).Set(float64(count[state]))
	}
}

// current returns the partitions whose copies are up to date.
func (s *standbys) current() []int32 {
	var parts []int32
	for p, c := range s.all() {
		if state, _, _, _ := c.Look(); state == replica.Current && !over(c.Done()) {
			parts = append(parts, p)
		}
	}
	slices.Sort(parts)
	return parts
}

// mayJoin reports whether nothing is gained by waiting: the instance is a member
// already, by its name, and has its partitions back at once; nobody else owns
// anything; or the copies are made. If nothing moves it does not wait either.
func (s *standbys) mayJoin(group sharing, err error) bool {
	if err == nil && (slices.Contains(group.members, s.o.Config.Group.Instance) || len(group.owners) == 0) {
		return true
	}
	waiting, steps := false, 0
	for _, c := range s.all() {
		state, _, _, n := c.Look()
		waiting = waiting || state != replica.Current
		steps += n
	}
	if err == nil && !waiting {
		return true
	}
	if now := s.o.Config.Now(); steps != s.steps || s.since.IsZero() {
		s.steps, s.since = steps, now
	}
	if s.o.Config.Now().Sub(s.since) < warmPatience {
		return false
	}
	s.o.Config.Logger.Warn("standby copies do not come; joining the group without them", "waited", warmPatience, "error", err)
	return true
}

// joining says what is copied before the instance joins the group. It is called
// under o.mu.
func (s *standbys) joining() string {
	if over(s.warm) {
		return ""
	}
	lines := []string{"copying partitions before taking any"}
	for _, p := range slices.Sorted(maps.Keys(s.copies)) {
		state, _, restore, _ := s.copies[p].Look()
		what := string(state)
		if restore != nil {
			what = restore.String()
		}
		lines = append(lines, fmt.Sprintf("copy of partition %d: %s", p, what))
	}
	return strings.Join(lines, "\n")
}
