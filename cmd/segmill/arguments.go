package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// arguments checks the arguments of a command, and says of wrong ones how it is called.
func arguments(check cobra.PositionalArgs, example string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch err := check(cmd, args); {
		case err == nil:
			return nil
		case len(args) == 0:
			return fmt.Errorf("%s needs an argument, for example: %s", cmd.Name(), example)
		case check(cmd, nil) == nil:
			return fmt.Errorf("%s does not take the argument %q; for example: %s", cmd.Name(), args[len(args)-1], example)
		default:
			return fmt.Errorf("%w; for example: %s", err, example)
		}
	}
}
