package group

import (
	"net"
)

// What tests outside of the package reach.

// Kill drops everything at once. Nothing is committed.
func (o *Owner) Kill() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.kill != nil {
		o.kill()
	}
}

// Liar lies about ends of transactions.
type Liar = liar

// Lie makes the next answers an error, or cuts them off.
func (l *liar) Lie(asError, cut int) { l.lie(asError, cut) }

// Calm makes it tell the truth from now on.
func (l *liar) Calm() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.error, l.cut = 0, 0
}

// Wrap puts the liar into a connection.
func (l *liar) Wrap(c net.Conn) net.Conn { return l.wrap(c) }
