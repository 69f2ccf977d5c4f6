// Package replica keeps the local copy of one partition's state: it reads the
// partition's changelog into the store.
//
// The one rule it keeps: the copy is always the state at some position of the
// changelog, or it says that it is none. It can be behind; it is never ahead or
// different.
//
// A restore is Open, Read to the end, Verify, State. A standby is the same without an
// end.
package replica
