// Package containers tests the program against a real Kafka in a container. It
// is a module of its own, so that the program does not depend on a container
// library. Without a container engine its tests are skipped; `make containers`
// runs them and says how many were.
package containers
