// Package crash ends the process after a panic, with an exit code of its own: the defect is
// told from what the runtime uses that code for.
package crash

import (
	"fmt"
	"os"
	"runtime/debug"
)

// Code is the exit code after a panic. That of the runtime is 2, which stands
// for wrong flags.
const Code = 70

// OnPanic ends, if it is deferred, the process with Code if its goroutine panics.
// Panics in goroutines of libraries end it with the runtime's code.
func OnPanic() {
	if r := recover(); r != nil {
		Exit(r)
	}
}

// Exit reports a recovered panic as the runtime does, and ends the
// process.
func Exit(recovered any) {
	fmt.Fprintf(os.Stderr, "panic: %v\n\n%s\nsegmill: this is a bug; please report it with the lines above\n", recovered, debug.Stack())
	os.Exit(Code)
}
