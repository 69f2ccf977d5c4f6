// Package brokers starts real Apache Kafka brokers for tests, without a container
// engine: the jars come from Maven Central, and each broker is a Java process on
// free ports of the loopback interface. It needs a JDK or JRE of version 17 or
// later, and Maven once for each version of Kafka. Brokers can be killed, stopped,
// frozen, and started again; none of them outlives the test.
//
// The tests of this package, with the build tag "brokers", run the suite of
// internal/promise on such brokers: see `make brokers`.
package brokers
