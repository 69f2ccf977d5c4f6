// Package consumer is the Kafka edge of the engine: which partitions this instance
// owns, what is read from them and in which order, and the transaction in which
// everything that follows from it is written. It has no code of its own; its packages,
// each of which may use those above it:
//
//	fault      what has to happen after an error
//	metrics    every instrument
//	changelog  what a changelog partition holds, and which of its records count
//	broker     questions that the client can't ask
//	ledger     all records of a batch count, or none: with transactions, or with claims
//	config     the settings, and which of them fit together
//	topics     what the topics are like
//	replica    the local copy: restore, verify, standby
//	cache      the decoded customers
//	feed       the inputs in one order, and the clock
//	deadletter what becomes of refused records
//	task       one partition: acquire, run, and acquire again after an error
//	group      which partitions are ours
//	reshard    to another number of partitions
//	inspect    what an engine would stumble over
//
// The one rule that they keep together: the changelog is the truth. Customers, the
// input offsets, the clock and the outputs of a batch are written by one transaction
// under the transactional id of the partition; everything else, the local store
// included, is a copy made afterwards. So there is one answer to every error:
// throw away what is in memory, fence whoever else may hold the partition, and
// let the changelog say how far things have come. Nothing is ever guessed.
//
// A task is one goroutine, and tasks share nothing but their Instance. Nothing here
// asks what time it is: config.Config.Now says.
package consumer
