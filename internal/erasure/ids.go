package erasure

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/internal/bounded"
	"github.com/segmill/segmill/schemas"
)

// IDs reads customer ids.
type IDs struct {
	// Literal takes every id literally, even one that does not look like an id.
	Literal bool
}

// remedy says how to write an id.
const idRemedy = "write the bare id, or use --literal if this is the id"

// Check returns an error if a text is no customer id, or plainly something else.
func (l IDs) Check(id string) error {
	if err := schemas.CheckID(id); err != nil {
		return err
	}
	if why := schemas.NotPlain(id); why != "" && !l.Literal {
		return fmt.Errorf("%q is not a bare customer id: %s: %s", id, why, idRemedy)
	}
	return nil
}

// maxIDFile is the size of the largest file of ids, in bytes, and maxBadLines how
// many lines with errors are named.
const (
	maxIDFile   = 256 << 20
	maxBadLines = 20
)

// ReadFile reads a file of ids, one per line; "-" means in, which ends with ctx.
// A byte order mark, the ends of lines and empty lines are passed over. If a line
// is no id the error names it and all others that are none, and there are no ids.
func (l IDs) ReadFile(ctx context.Context, in io.Reader, file string) ([]string, error) {
	var b []byte
	var err error
	if file == "-" {
		b, err = io.ReadAll(io.LimitReader(bounded.Interruptible(ctx, in), maxIDFile+1))
		if err == nil && len(b) > maxIDFile {
			err = fmt.Errorf("standard input is more than %d bytes long", maxIDFile)
		}
	} else if b, err = bounded.ReadFile(file, maxIDFile); err != nil && !errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%w (standard input is --file -)", err)
	}
	if err != nil {
		return nil, err
	}
	return l.parse(b, file)
}

func (l IDs) parse(b []byte, file string) (ids []string, err error) {
	lines := bufio.NewScanner(bytes.NewReader(bytes.TrimPrefix(b, []byte("\ufeff"))))
	lines.Buffer(nil, maxIDFile)
	var wrong []string
	n, bad := 0, 0
	for lines.Scan() {
		n++
		id := strings.TrimSuffix(lines.Text(), "\r")
		if id == "" {
			continue
		}
		if err := l.checkLine(id); err != nil {
			if bad++; bad <= maxBadLines {
				wrong = append(wrong, fmt.Sprintf("%s:%d: %v", file, n, err))
			}
			continue
		}
		ids = append(ids, id)
	}
	if bad > 0 {
		return nil, fmt.Errorf("%s\n%s of %d rejected; nothing was erased", strings.Join(wrong, "\n"), app.Plural(bad, "line"), n)
	}
	return ids, lines.Err()
}

// checkLine is Check for a line of a file, which may be of a table.
func (l IDs) checkLine(id string) error {
	if err := l.Check(id); err != nil || l.Literal {
		return err
	}
	if i := strings.IndexAny(id, ",;"); i >= 0 {
		return fmt.Errorf("%q contains %q, as between the columns of a table: %s", id, id[i], idRemedy)
	}
	return nil
}

// unique drops repeats and keeps the order.
func unique(ids []string) []string {
	seen := make(map[string]bool, len(ids))
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
		again := seen[id]
		seen[id] = true
		return again
	})
}
