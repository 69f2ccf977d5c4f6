// Package reshard moves the state of an application that is stopped to another one with
// another number of partitions.
//
// The one rule it keeps: one transaction decides. Before it the old application can be
// opened again; after it the new one has everything.
package reshard
