// Package apply changes the rules of an application, and says which ones are in force and how
// far its partitions have gone over to them.
//
// The one rule it keeps: what is written replaces the rules that were looked at. If others
// have come meanwhile, nothing is written, and it is said whose they are.
package apply

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmill/segmill/consumer/ruled"
	"github.com/segmill/segmill/consumer/rulelog"
	"github.com/segmill/segmill/internal/app"
)

// Session is a look at the rules of an application. Close ends it.
type Session struct {
	App   string
	View  *rulelog.View
	log   *rulelog.Log
	parts ruled.Reader
	conf  *app.Config
	opt   app.RunOptions

	checkEvery time.Duration // see Wait
}

// Open reads the log of rules. An application that has none is an error with its remedy.
func Open(ctx context.Context, conf *app.Config, opt app.RunOptions) (*Session, error) {
	l, err := conf.RuleLog(ctx, opt)
	if err != nil {
		return nil, err
	}
	v, err := l.Read(ctx)
	if errors.Is(err, rulelog.ErrAbsent) {
		err = fmt.Errorf("%w: %s was never started here, or only by a version without a log of rules: segmill run creates it; is the app of the configuration right?", err, conf.App)
	}
	if err != nil {
		l.Cluster.Close()
		return nil, err
	}
	return &Session{App: conf.App, View: v, log: l, conf: conf, opt: opt, checkEvery: checkEvery, parts: ruled.Reader{Cluster: l.Cluster, Topic: conf.App + ".changelog"}}, nil
}

// Close closes the connections.
func (s *Session) Close() { s.log.Cluster.Close() }

// Set returns a set by its number.
func (s *Session) Set(number uint64) (*rulelog.Entry, error) {
	if e := s.View.Set(number); e != nil {
		return e, nil
	}
	if s.View.Number() == 0 {
		return nil, fmt.Errorf("%s is empty: no rules have been in force yet", s.log.Topic)
	}
	return nil, fmt.Errorf("there is no set %d: the sets are 1 to %d, and segmill rules log lists them", number, s.View.Number())
}

// Reason is who changes rules and why, and whether facts may be lost by it.
type Reason struct {
	Who, Why   string
	AcceptLoss bool
}

// Write writes rules as the set that replaces the one in force.
func (s *Session) Write(ctx context.Context, rules *app.Rules, r Reason) (*rulelog.Entry, error) {
	d, err := rules.Draft()
	if err != nil {
		return nil, err
	}
	d.Base, d.Who, d.Why, d.AcceptLoss = s.View.Number(), r.Who, r.Why, r.AcceptLoss
	e, err := s.log.Append(ctx, d)
	if errors.Is(err, rulelog.ErrBase) {
		return nil, fmt.Errorf("nothing was written: %w. See what has changed with segmill rules show, and apply again", err)
	}
	return e, err
}

// HasState reports whether there are customers: otherwise there is nothing to preview.
func (s *Session) HasState(ctx context.Context) (bool, error) {
	parts, err := s.parts.Partitions(ctx)
	for i := range parts {
		if !parts[i].Empty {
			return true, nil
		}
	}
	return false, err
}
