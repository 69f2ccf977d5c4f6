package group

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// wire is a network that can be made bad: every connection of a client that dials
// with it goes through it. Its fields may be set before it is used.
type wire struct {
	latency time.Duration // of every read, up to twice that
	rate    int           // bytes a second of each connection, 0 for no limit
	// cutAt are bytes, of everything that is written and read, at which the
	// connection is cut that carries them.
	cutAt []int64
	// holdEnd holds the end of a transaction back, for so long: those that are
	// numbered in holdEnds, from 1.
	holdEnd  time.Duration
	holdEnds []int64

	noDNS atomic.Bool // no broker's name is known

	bytes, cuts, ends, held, refused atomic.Int64

	mu    sync.Mutex
	conns map[*wireConn]bool
}

// What the network says.
var (
	errReset      error = &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	errNoSuchHost       = &net.DNSError{Err: "no such host", Name: "broker", IsNotFound: true}
)

func (w *wire) dial(ctx context.Context, network, host string) (net.Conn, error) {
	if w.noDNS.Load() {
		w.refused.Add(1)
		return nil, errNoSuchHost
	}
	c, err := (&net.Dialer{}).DialContext(ctx, network, host)
	if err != nil {
		return nil, err
	}
	conn := &wireConn{Conn: c, w: w}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conns == nil {
		w.conns = map[*wireConn]bool{}
	}
	w.conns[conn] = true
	return conn, nil
}

// cut cuts every connection.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		_ = c.Conn.Close()
	}
}

// freeze leaves every connection half open: what is written vanishes, and nothing
// comes.
func (w *wire) freeze() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		c.dead.Store(true)
	}
	return len(w.conns)
}

// lasts waits for as long as something takes that a test makes slow. Nothing says
// when it is over: that it takes so long is what is tested.
func lasts(d time.Duration) { <-time.After(d) }

type wireConn struct {
	net.Conn
	w       *wire
	dead    atomic.Bool
	keeping sync.WaitGroup // requests on their way although the client has hung up
	late    atomic.Int64   // how many
}

func (c *wireConn) Close() error {
	c.w.mu.Lock()
	delete(c.w.conns, c)
	c.w.mu.Unlock()
	if c.late.Load() == 0 {
		return c.Conn.Close()
	}
	go func() {
		c.keeping.Wait()
		_ = c.Conn.Close()
	}()
	return nil
}

// pass waits for what n bytes take, and cuts the connection where that is wanted.
func (c *wireConn) pass(n int) error {
	to := c.w.bytes.Add(int64(n))
	if c.w.rate > 0 {
		lasts(time.Duration(n) * time.Second / time.Duration(c.w.rate))
	}
	for _, at := range c.w.cutAt {
		if at > to-int64(n) && at <= to {
			c.w.cuts.Add(1)
			_ = c.Conn.Close()
			return errReset
		}
	}
	return nil
}

// Write sees requests: size, key, version, correlation id.
func (c *wireConn) Write(p []byte) (int, error) {
	if c.dead.Load() {
		return len(p), nil
	}
	if len(p) >= 12 && binary.BigEndian.Uint16(p[4:]) == endTxn && c.w.holds(c.w.ends.Add(1)) {
		late := append([]byte(nil), p...)
		c.late.Add(1)
		c.keeping.Add(1)
		time.AfterFunc(c.w.holdEnd, func() {
			c.w.held.Add(1)
			_, _ = c.Conn.Write(late)
			time.AfterFunc(20*time.Millisecond, c.keeping.Done) // a connection that is closed is not read from
		})
		return len(p), nil
	}
	for sent := 0; sent < len(p); {
		n := min(len(p)-sent, 512) // so that cuts are within frames
		if err := c.pass(n); err != nil {
			return sent, err
		}
		if n, err := c.Conn.Write(p[sent : sent+n]); err != nil {
			return sent + n, err
		}
		sent += n
	}
	return len(p), nil
}

func (w *wire) holds(n int64) bool {
	for _, h := range w.holdEnds {
		if h == n {
			return true
		}
	}
	return false
}

func (c *wireConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p[:min(len(p), 512)])
	for err == nil && c.dead.Load() {
		n, err = c.Conn.Read(p) // to nowhere, until the deadline
	}
	if c.w.latency > 0 {
		lasts(c.w.latency + rand.N(c.w.latency))
	}
	if err == nil {
		err = c.pass(n)
	}
	if errors.Is(err, errReset) {
		n = 0
	}
	return n, err
}
