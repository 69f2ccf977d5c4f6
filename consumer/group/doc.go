// Package group is an instance in its consumer group: which partitions it owns, which
// it keeps copies of, and what it says of itself.
//
// The one rule it keeps: nothing depends on how soon an instance hears that a partition
// is no longer its own. The next owner fences it.
package group
