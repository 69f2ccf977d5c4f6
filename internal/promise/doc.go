// Package promise is the suite that judges the engine on real brokers: it writes
// load, runs the built program, does harm to it, and lets internal/checker say
// whether the promise was kept. It does not care where the brokers come from:
// internal/brokers calls it with Kafka started from jars, internal/containers with
// brokers in containers.
package promise
