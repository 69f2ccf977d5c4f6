// Command segmill is a real-time segmentation engine: it folds events from Kafka
// into per-customer state, evaluates segment rules as events and time pass, and
// emits membership changes and triggers.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/segmill/segmill/engine/rule"
	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailed  = 1  // bad input lines, a run that failed
	exitUsage   = 2  // a wrong flag or argument
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
func failed(err error) error    { return &exitError{exitFailed, err} }

func main() { os.Exit(run()) }

// run is main without the exit, so that scripts can test the program.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := root().ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var problems rule.Problems
	switch {
	case errors.As(err, &problems):
		fmt.Fprintln(os.Stderr, problems)
		fmt.Fprintf(os.Stderr, "\n%s\n", plural(len(problems), "error"))
	case err.Error() != "":
		fmt.Fprintln(os.Stderr, "segmill:", err)
	}
	var e *exitError
	if errors.As(err, &e) {
		return e.code
	}
	return exitUsage
}

func root() *cobra.Command {
	c := &cobra.Command{
		Use:   "segmill",
		Short: "Real-time segments and triggers from a stream of events",
		Long: `segmill reads web, email and purchase events from Kafka, keeps the state of each
customer, and tells when customers enter and leave segments and when triggers
fire: carts left, silences, anniversaries.

Start with: segmill demo`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	c.AddCommand(runCommand(), demoCommand(), checkCommand(), replayCommand(), versionCommand())
	return c
}

func plural(n int, noun string) string {
	if n == 1 {
		return fmt.Sprintf("1 %s", noun)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
