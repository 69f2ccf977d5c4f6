package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/spf13/pflag"
)

// length is a flag with a length of time, written as in the files: 30m, 1h30m, 100d, 2w.
type length time.Duration

// lengthVar adds such a flag.
func lengthVar(f *pflag.FlagSet, to *time.Duration, name string, value time.Duration, usage string) {
	*to = value
	f.Var((*length)(to), name, usage)
}

// Set reads a length of time. What Go writes, such as 1.5h, is one too.
func (l *length) Set(s string) error {
	if d, err := model.ParseDuration(s); err == nil {
		*l = length(d)
		return nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%s is not a length of time such as 90s, 30m or 100d", strconv.Quote(s))
	}
	*l = length(d)
	return nil
}

// String prints the length.
func (l *length) String() string { return model.Duration(*l).String() }

// Type names the form of the value in the help.
func (l *length) Type() string { return "length" }
