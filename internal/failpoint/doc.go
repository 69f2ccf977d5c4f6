// Package failpoint has the named points of the protocol at which a test can hold a
// task or let it die: before and after everything that is written.
//
// The one rule it keeps: a release has none of it. Points are there in builds with the
// tag segmill_invariants, as all tests are built; without it a Points takes no memory,
// nothing can be attached to it, and At is a call that the compiler drops.
package failpoint
