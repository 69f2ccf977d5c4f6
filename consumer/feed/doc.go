// Package feed is the inputs of one partition: it fetches the records of several
// topics, reads them, and gives them in one order, with the clock that follows from
// them.
//
// The one rule it keeps: the order of records, and what the clock says at each of them,
// do not depend on how they were fetched. A record that is known to exist is waited
// for.
//
// Two kinds of feed have the same order of a run over history: the past of a task,
// which is read again for a rebuild or a resharding, has an end and waits for nothing
// else; the live one never ends, or ends at an instant.
package feed
