// Package clients has tests of the clients that users have, with the defaults that
// they come with, and of schema registries, on a real Kafka: see `make clients`.
// Each client writes events, and each reads what the engine makes of them.
//
// The versions of clients are pinned in requirements.txt, package.json and pom.xml;
// docs/formats.md lists what was run.
package clients
