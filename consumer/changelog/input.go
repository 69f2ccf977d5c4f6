package changelog

import (
	"cmp"
	"maps"
	"slices"
)

// Input is a partition of an input as one task sees it. Most tasks read of every topic
// the partition of their own number, and then nothing is said of partitions.
type Input struct {
	Topic string
	// Beside is 0 for the partition of the task's own number, and otherwise the
	// partition's number and 1.
	Beside int32
}

// InputOf returns the input that a partition of a topic is for a task.
func InputOf(topic string, partition, task int32) Input {
	if partition == task {
		return Input{Topic: topic}
	}
	return Input{Topic: topic, Beside: partition + 1}
}

// Partition returns the number of the partition, of which a task reads.
func (in Input) Partition(task int32) int32 {
	if in.Beside == 0 {
		return task
	}
	return in.Beside - 1
}

// sortedInputs returns the inputs of a position in the order in which they are written.
func sortedInputs(sources map[Input]Source) []Input {
	return slices.SortedFunc(maps.Keys(sources), func(a, b Input) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Beside, b.Beside))
	})
}
