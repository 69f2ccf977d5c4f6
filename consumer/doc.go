// Package consumer is the Kafka edge of the engine: which partitions this
// instance owns, what is read from them and in which order, and the transaction
// in which everything that follows from it is written.
//
// The one rule it keeps: the changelog is the truth. Customers, the input
// offsets, the clock and the outputs of a batch are written by one transaction
// under the transactional id of the partition; everything else, the local store
// included, is a copy made afterwards. So there is one answer to every error:
// throw away what is in memory, fence whoever else may hold the partition, and
// let the changelog say how far things have come. Nothing is ever guessed.
//
// The parts, from the outside in:
//
//	Owner     the consumer group that says which partitions are ours
//	Task      one partition: acquires, runs, and acquires again after an error
//	session   one acquisition: all state of a task that an error throws away
//	merge     the order in which the records of several topics are taken
//	clock     what time it is for the silent
//	Position  the last record of every transaction: how far the task has come
//
// A Task is one goroutine and nothing is shared between tasks but what the Owner
// lends them. The package does not ask what time it is: Config.Now says.
package consumer
