// Package bounded reads what may be anything, a pipe or a device in place of a file, or one
// of a terabyte: nothing is waited for beyond a context, and no more is read than there may be.
package bounded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/segmill/segmill/internal/crash"
)

// ReadRegular reads a regular file of at most limit bytes that is no symbolic link.
func ReadRegular(name string, limit int64) ([]byte, error) {
	info, err := os.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is %s, not a file", name, kindOf(info.Mode()))
	}
	return ReadFile(name, limit)
}

// ErrMore is wrapped by errors about files that are too long.
var ErrMore = errors.New("more")

// ReadFile reads a file of at most limit bytes. Symbolic links are followed;
// what is no regular file then is an error, and is not waited for: a pipe may
// never be written to, and a device may never end.
func ReadFile(name string, limit int64) ([]byte, error) {
	// Without O_NONBLOCK a pipe is waited for before it can be looked at.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close() // read only
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is %s, not a file", name, kindOf(info.Mode()))
	}
	if info.Size() > limit { // as much of it as there may be would be in memory before that is known
		return nil, fmt.Errorf("%s is %w than %d bytes long", name, ErrMore, limit)
	}
	// The file may grow, and those of /proc say that they are empty.
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s is %w than %d bytes long", name, ErrMore, limit)
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

// Within returns what do returns, or an error as soon as ctx ends: what can't be
// ended, opening a pipe that nobody writes to or a computation, is then given up
// and goes on until the process ends.
func Within[T any](ctx context.Context, do func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		defer crash.OnPanic()
		value, err := do()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
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
		if r.buf == nil {
			r.buf = make([]byte, 64<<10)
		}
		buf := r.buf
		n, err := Within(r.ctx, func() (int, error) { return r.in.Read(buf) })
		if r.ctx.Err() != nil {
			return 0, context.Cause(r.ctx)
		}
		if n == 0 {
			return 0, err
		}
		r.left = buf[:n] // an error comes again
	}
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}
