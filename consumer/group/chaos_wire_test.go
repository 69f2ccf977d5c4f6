package group_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/consumer/group"
)

// wire is the network of one instance. It can freeze, so that nothing passes in
// either direction and nobody hears of it; be cut, now or after some bytes; and
// die with its instance.
type wire struct {
	liar group.Liar

	mu    sync.Mutex
	conns map[*wireConn]bool
	// thawed is closed when it thaws, nil if it is not frozen; told is the same for
	// the connections over which the instance hears of its group.
	thawed, told chan struct{}
	dead         bool
}

var errDead = errors.New("the instance is dead")

func newWire() *wire { return &wire{conns: map[*wireConn]bool{}} }

func (w *wire) dial(ctx context.Context, network, host string) (net.Conn, error) {
	if err := w.wait(ctx.Done(), false); err != nil {
		return nil, err
	}
	c, err := (&net.Dialer{}).DialContext(ctx, network, host)
	if err != nil {
		return nil, err
	}
	conn := &wireConn{Conn: c, w: w, closed: make(chan struct{})}
	conn.left.Store(-1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		_ = c.Close()
		return nil, errDead
	}
	w.conns[conn] = true
	return w.liar.Wrap(conn), nil
}

// wait waits while the wire is frozen.
func (w *wire) wait(closed <-chan struct{}, group bool) error {
	for {
		w.mu.Lock()
		thawed, dead := w.thawed, w.dead
		if group {
			thawed = w.told
		}
		w.mu.Unlock()
		if dead {
			return errDead
		}
		if thawed == nil {
			return nil
		}
		select {
		case <-thawed:
		case <-closed:
			return net.ErrClosed
		}
	}
}

func (w *wire) freeze() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.thawed, w.told = make(chan struct{}), make(chan struct{})
}

// thaw lets everything pass again, but for what the instance would hear of its
// group: that comes with hear. In between it does not know that it has lost its
// partitions.
func (w *wire) thaw() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.thawed != nil {
		close(w.thawed)
		w.thawed = nil
	}
}

func (w *wire) hear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.told != nil {
		close(w.told)
		w.told = nil
	}
}

// cut ends every connection after some more bytes.
func (w *wire) cut(after func() int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		c.left.Store(after())
	}
}

// die ends every connection and lets none begin.
func (w *wire) die() {
	w.mu.Lock()
	w.dead = true
	conns := w.conns
	w.conns = map[*wireConn]bool{}
	w.mu.Unlock()
	w.thaw()
	w.hear()
	for c := range conns {
		_ = c.Close()
	}
}

// wireConn is one connection.
type wireConn struct {
	net.Conn
	w      *wire
	left   atomic.Int64 // bytes until it is cut, -1 if it is not to be
	group  atomic.Bool  // requests about the group go over it
	once   sync.Once
	closed chan struct{}
}

// Read gives on what has come, unless the wire has frozen meanwhile.
func (c *wireConn) Read(p []byte) (int, error) {
	if err := c.w.wait(c.closed, c.group.Load()); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	if werr := c.w.wait(c.closed, c.group.Load()); werr != nil {
		return 0, werr
	}
	return n, errors.Join(err, c.spend(n))
}

// Write sends, if need be a part only. A request begins with its size and key.
func (c *wireConn) Write(p []byte) (int, error) {
	if len(p) > 6 {
		switch kmsg.Key(binary.BigEndian.Uint16(p[4:])) {
		case kmsg.JoinGroup, kmsg.SyncGroup, kmsg.Heartbeat:
			c.group.Store(true)
		}
	}
	if err := c.w.wait(c.closed, c.group.Load()); err != nil {
		return 0, err
	}
	if left := c.left.Load(); left >= 0 && left < int64(len(p)) {
		n, _ := c.Conn.Write(p[:left])
		return n, c.spend(len(p))
	}
	n, err := c.Conn.Write(p)
	return n, errors.Join(err, c.spend(n))
}

var errWireCut = errors.New("the connection was cut")

// spend counts bytes of a connection that is to be cut.
func (c *wireConn) spend(n int) error {
	if c.left.Load() < 0 || c.left.Add(int64(-n)) > 0 {
		return nil
	}
	c.left.Store(0)
	_ = c.Close()
	return errWireCut
}

func (c *wireConn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.w.mu.Lock()
		delete(c.w.conns, c)
		c.w.mu.Unlock()
	})
	return c.Conn.Close()
}
