package app

import (
	"context"
	"fmt"
	"io"
	"os"
	"syscall"
)

// readRegular reads a regular file of at most limit bytes that is no symbolic link.
func readRegular(name string, limit int64) ([]byte, error) {
	info, err := os.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is %s and not a file", name, kindOf(info.Mode()))
	}
	return readBounded(name, limit)
}

// readBounded reads a file of at most limit bytes. Symbolic links are followed;
// what is no regular file then is an error, and is not waited for: a pipe may
// never be written to, and a device may never end.
func readBounded(name string, limit int64) ([]byte, error) {
	// Without O_NONBLOCK a pipe is waited for before it can be looked at.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is %s and not a file", name, kindOf(info.Mode()))
	}
	// The file may grow, and those of /proc say that they are empty.
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s is more than %d bytes long", name, limit)
	}
	return b, err
}

// kindOf names what a file is that is not regular.
func kindOf(m os.FileMode) string {
	switch {
	case m.IsDir():
		return "a directory"
	case m&os.ModeSymlink != 0:
		return "a symbolic link"
	case m&os.ModeNamedPipe != 0:
		return "a pipe"
	case m&os.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}

// Interruptible returns a reader of in that ends with ctx: what in reads from, a
// terminal or a pipe, may say nothing for ever. The reading that is given up goes
// on until the process ends.
func Interruptible(ctx context.Context, in io.Reader) io.Reader {
	return &interruptible{ctx: ctx, in: in}
}

type interruptible struct {
	ctx  context.Context //nolint:containedctx // of the command, for as long as it reads
	in   io.Reader
	left []byte // of buf, read and not yet given
	buf  []byte
}

// Read is part of io.Reader.
func (r *interruptible) Read(p []byte) (int, error) {
	if len(r.left) == 0 {
		type result struct {
			n   int
			err error
		}
		if r.buf == nil {
			r.buf = make([]byte, 64<<10)
		}
		done := make(chan result, 1)
		go func() {
			n, err := r.in.Read(r.buf)
			done <- result{n, err}
		}()
		select {
		case <-r.ctx.Done():
			r.buf = nil // still written to
			return 0, context.Cause(r.ctx)
		case got := <-done:
			if got.n == 0 {
				return 0, got.err
			}
			r.left = r.buf[:got.n] // an error comes again
		}
	}
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}
