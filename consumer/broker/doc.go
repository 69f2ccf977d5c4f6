// Package broker asks Kafka what its Go client has no question for, and reads what
// its client can't: the ends of partitions as of an instant, topics that all brokers
// agree on, a range of records, one batch as it is stored.
//
// The one rule it keeps: an answer is never older than its question. Nothing here
// answers from a cache.
package broker
