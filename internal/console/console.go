// Package console writes logs: lines that a person can read on a terminal, JSON elsewhere.
package console

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"sync"
)

// NewLogger returns a logger that writes records of at least level to w: lines
// for people if w is a terminal, else JSON.
func NewLogger(w io.Writer, level string, terminal bool) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		l = slog.LevelInfo
	}
	if terminal {
		return slog.New(newConsole(w, l, os.Getenv("NO_COLOR") == ""))
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: l}))
}

// console writes a record as time of day, level if it is not INFO, message, and
// what belongs to it as slog.TextHandler writes it.
type console struct {
	out    *consoleOut
	attrs  slog.Handler // writes the attributes alone, into out.line
	colour bool
}

// consoleOut is shared by all handlers that With makes of one.
type consoleOut struct {
	mu   sync.Mutex
	w    io.Writer
	line bytes.Buffer
}

func newConsole(w io.Writer, l slog.Level, colour bool) *console {
	out := &consoleOut{w: w}
	return &console{out: out, colour: colour, attrs: slog.NewTextHandler(&out.line, &slog.HandlerOptions{
		Level: l,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
				return slog.Attr{}
			}
			return a
		},
	})}
}

// Enabled reports whether records of the level are written.
func (c *console) Enabled(ctx context.Context, l slog.Level) bool { return c.attrs.Enabled(ctx, l) }

// WithAttrs returns a handler that adds attributes to every record.
func (c *console) WithAttrs(a []slog.Attr) slog.Handler {
	return &console{c.out, c.attrs.WithAttrs(a), c.colour}
}

// WithGroup returns a handler that puts a name before the keys that follow.
func (c *console) WithGroup(name string) slog.Handler {
	return &console{c.out, c.attrs.WithGroup(name), c.colour}
}

// Handle writes one line.
func (c *console) Handle(ctx context.Context, r slog.Record) error {
	o := c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	o.line.Reset()
	o.line.WriteString(r.Time.Format("15:04:05 "))
	if r.Level != slog.LevelInfo {
		o.line.WriteString(c.paint(r.Level, r.Level.String()) + " ")
	}
	o.line.WriteString(r.Message + "  ")
	if err := c.attrs.Handle(ctx, r); err != nil {
		return err
	}
	_, err := o.w.Write(append(bytes.TrimRight(o.line.Bytes(), " \n"), '\n'))
	return err
}

func (c *console) paint(l slog.Level, s string) string {
	switch {
	case !c.colour || l < slog.LevelWarn:
		return s
	case l < slog.LevelError:
		return "\x1b[33m" + s + "\x1b[0m" // yellow
	}
	return "\x1b[31m" + s + "\x1b[0m" // red
}
