package app

import (
	"fmt"
	"os"
	"runtime/debug"
)

// ExitPanic is the exit code after a panic. That of the runtime is 2, which stands
// for wrong flags.
const ExitPanic = 70

// ExitOnPanic ends, if it is deferred, the process with ExitPanic if its goroutine panics.
// Panics in goroutines of libraries end it with the runtime's code.
func ExitOnPanic() {
	if r := recover(); r != nil {
		ExitWithPanic(r)
	}
}

// ExitWithPanic reports a recovered panic as the runtime does, and ends the
// process.
func ExitWithPanic(recovered any) {
	fmt.Fprintf(os.Stderr, "panic: %v\n\n%s\nsegmill: this is a bug; please report it with the lines above\n", recovered, debug.Stack())
	os.Exit(ExitPanic)
}
