// Package invariants is about what must hold whatever happens. Checks of it run in
// builds with the tag segmill_invariants, as all tests are built; a release has none of
// them.
//
// The one rule: a check costs nothing where it is off, and allocates nothing where it
// is on and holds. Code guards it with the constant, so that the compiler drops it:
//
//	if invariants.Enabled && after < before {
//		invariants.Broken("the clock went back from %v to %v", before, after)
//	}
//
// The tag invariants turns these checks on too, and with them those of Pebble, which
// make everything that is stored several times as slow.
package invariants
