package task

import (
	"fmt"
	"slices"
	"testing"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/topics"
)

// sharing is an instance of so many tasks whose inputs have so many partitions.
func sharing(tasks int32, partitions map[string]int32) *Instance {
	in := NewInstance(config.Config{App: "shop", Inputs: []string{"web", "profile"}})
	in.Found(topics.Found{Partitions: tasks, Inputs: partitions})
	return &in
}

// Each partition of an input is read by one task, and by the one of its number if there
// is one.
func TestInputsAreShared(t *testing.T) {
	for tasks := range int32(6) {
		tasks++
		for n := range int32(15) {
			in := sharing(tasks, map[string]int32{"web": n, "profile": 1})
			read := map[string]int32{}
			for task := range tasks {
				l := in.Inputs(task)
				if !slices.IsSortedFunc(l, broker.Partition.Compare) {
					t.Errorf("%v is not sorted", l)
				}
				for _, p := range l {
					if _, twice := read[p.String()]; twice {
						t.Errorf("%v is read twice", p)
					}
					read[p.String()] = task
				}
			}
			if len(read) != int(n+1+tasks) {
				t.Errorf("%d tasks read %d partitions of %d", tasks, len(read), n+1+tasks)
			}
			for p := range n {
				if by, ok := read[fmt.Sprintf("web/%d", p)]; !ok || by != p%tasks {
					t.Errorf("web/%d of %d is read by task %d of %d, or by none", p, n, by, tasks)
				}
			}
		}
	}
}

// Where an input has a multiple of the tasks' number of partitions, a customer's partition
// is one that their task reads: nothing is forwarded.
func TestMultiplesAreInPlace(t *testing.T) {
	for _, tasks := range []int32{1, 3, 4, 12} {
		home := broker.NewRouter(tasks)
		for times := range int32(4) {
			input := broker.NewRouter(tasks * (times + 1))
			for i := range 1000 {
				who := fmt.Sprintf("c%d", i)
				if p := input.Partition(who); p%tasks != home.Partition(who) {
					t.Fatalf("%s is on partition %d of %d and lives at task %d of %d", who, p, tasks*(times+1), home.Partition(who), tasks)
				}
			}
		}
	}
}

// What another instance has read is read on by this one, which has not heard yet that
// there is such a partition: a rebuild would otherwise lose what stands there.
func TestPositionKnowsMorePartitions(t *testing.T) {
	in := sharing(4, map[string]int32{"web": 3, "profile": 1})
	in.Learn(1, &changelog.Position{Sources: map[changelog.Input]changelog.Source{
		changelog.InputOf("web", 9, 1):     {Next: 7},
		changelog.InputOf("web", 13, 1):    {}, // nothing is lost by waiting until it is there
		changelog.InputOf("former", 5, 1):  {Next: 3},
		changelog.InputOf("profile", 1, 1): {},
		{Topic: in.Config.Repartition()}:   {Next: 2},
	}})
	var got []string
	for _, p := range in.Inputs(1) {
		got = append(got, p.String())
	}
	if want := []string{"shop.repartition/1", "web/1", "web/5", "web/9"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if in.growth() != 1 {
		t.Error("other tasks do not hear of it")
	}
}
