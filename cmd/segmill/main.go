// Command segmill is a real-time segmentation engine: it folds events from Kafka
// into per-customer state, evaluates segment rules as events and time pass, and
// emits membership changes and triggers.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/internal/crash"
	"github.com/segmill/segmill/state"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1  // bad input lines, a run that failed
	exitUsage  = 2  // a wrong flag or argument
	exitGuard  = 3  // a preview says what was said not to be
	exitTemp   = 75 // something takes longer than was to be waited for (EX_TEMPFAIL)
	// crash.Code (70) is a defect: it has panicked (EX_SOFTWARE).
	exitBadConf = 78 // bad rules or configuration (EX_CONFIG)
)

// exitError is an error with its exit code. A nil err prints nothing more: what
// was wrong has been said.
type exitError struct {
	code int
	err  error
}

// Error returns the text of the error inside.
func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

// Unwrap returns the error inside.
func (e *exitError) Unwrap() error { return e.err }

func badConfig(err error) error { return &exitError{exitBadConf, err} }

// failed is for what went wrong while it ran; a state directory that belongs to
// somebody else is a configuration that is wrong.
func failed(err error) error {
	if errors.Is(err, state.ErrForeign) {
		return badConfig(err)
	}
	return &exitError{exitFailed, err}
}

func main() {
	defer crash.OnPanic()
	os.Exit(run())
}

// run is main without the exit, so that scripts can test the program.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	err := root().ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	explain(os.Stderr, err)
	var e *exitError
	if errors.As(err, &e) {
		return e.code
	}
	return exitUsage
}

// interrupted returns err, or that of a command that was stopped before its end.
func interrupted(cmd *cobra.Command, err error) error {
	if ctx := cmd.Context(); ctx.Err() != nil {
		return failed(errors.New("interrupted"))
	}
	return err
}

// explain prints an error; lists with their length.
func explain(w io.Writer, err error) {
	var problems rule.Problems
	var conf app.ConfigErrors
	switch {
	case errors.As(err, &problems):
		fmt.Fprintf(w, "%s\n\n%s\n", problems, app.Plural(len(problems), "error"))
	case errors.As(err, &conf):
		fmt.Fprintf(w, "%s\n\n%s\n", conf, app.Plural(len(conf), "error"))
	case err.Error() != "":
		fmt.Fprintln(w, "segmill:", err)
	}
}

func root() *cobra.Command {
	c := &cobra.Command{
		Use:   "segmill",
		Short: "Real-time segments and triggers from a stream of events",
		Long: `segmill reads web, email and purchase events from Kafka, keeps the state of each
customer, and emits a message when a customer enters or leaves a segment and when
a trigger fires: an abandoned cart, a silence, an anniversary.

Start with: segmill demo`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	c.AddCommand(initCommand(), runCommand(), demoCommand(), checkCommand(), testCommand(), fmtCommand(), schemaCommand(), replayCommand(), backtestCommand(), diffCommand(), mapCommand(), previewCommand(), importCommand(), applyCommand(), rulesCommand(), stateCommand(), eraseCommand(), versionCommand())
	return c
}
