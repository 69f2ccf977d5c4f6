// Package containers tests the program against real brokers in containers: Kafka 4,
// an older Kafka, and Redpanda. Instances are killed, stopped and frozen, and
// internal/checker judges what is left in the topics. It is a module of its own, so
// that the program does not depend on a container library. Without a container
// engine its tests are skipped; `make containers` runs them and says how many were.
// SEGMILL_TEST_BROKERS names a broker that is running already.
package containers
