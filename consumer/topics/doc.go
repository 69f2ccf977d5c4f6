// Package topics is the topics of an application: which there are, how its own are
// created, and whether all of them fit together and keep what the guarantees assume.
//
// The one rule it keeps: an engine that starts can go on. What would stop it later is
// refused now, and what would weaken it is said.
package topics
