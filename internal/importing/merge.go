package importing

import (
	"bufio"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/segmill/segmill/engine"
)

// mostRuns is how many runs are merged at once, and readBytes how much is read of each at
// once: together that is the memory of a merge.
const (
	mostRuns  = 256
	readBytes = 256 << 10
)

// merge is several runs in one order.
type merge struct {
	open []*reader // a heap by the next record, which is empty at the end
}

// reader reads a run.
type reader struct {
	in   *bufio.Reader
	size int64 // what is left of the run

	entry      // of the next record
	length int // of the next record
}

// newMerge begins to merge runs of a file.
func newMerge(s *spill, runs []extent) (*merge, error) {
	m := &merge{}
	for _, x := range runs {
		r := &reader{in: bufio.NewReaderSize(io.NewSectionReader(s.file, x.from, x.size), readBytes), size: x.size}
		if err := r.advance(); err != nil {
			return nil, err
		}
		m.open = append(m.open, r)
	}
	heap.Init(m)
	return m, nil
}

// next appends the next record as it is in a run. io.EOF is the end.
func (m *merge) next(room []byte) ([]byte, error) {
	if len(m.open) == 0 {
		return room, io.EOF
	}
	r := m.open[0]
	from := len(room)
	room = append(room, make([]byte, r.length)...)
	if _, err := io.ReadFull(r.in, room[from:]); err != nil {
		return room, broken(err)
	}
	r.size -= int64(r.length)
	switch err := r.advance(); {
	case errors.Is(err, io.EOF):
		heap.Pop(m)
	case err != nil:
		return room, err
	default:
		heap.Fix(m, 0)
	}
	return room, nil
}

// advance reads what the next record is sorted by.
func (r *reader) advance() error {
	if r.size == 0 {
		return io.EOF
	}
	b, err := r.in.Peek(recordHead)
	if err != nil {
		return broken(err)
	}
	r.length = 4 + int(binary.LittleEndian.Uint32(b))
	r.partition, r.at, r.seq = int32(binary.LittleEndian.Uint32(b[4:])), engine.Millis(binary.LittleEndian.Uint64(b[8:])), binary.LittleEndian.Uint64(b[16:])
	return nil
}

// broken is the error of a run that is not as it was written.
func broken(err error) error { return fmt.Errorf("reading what was sorted on disk: %w", err) }

// parse reads a record as it is in a run.
func parse(b []byte) (r record, customer []byte) {
	n := recordHead + int(binary.LittleEndian.Uint16(b[32:]))
	return record{
		partition: int32(binary.LittleEndian.Uint32(b[4:])), at: engine.Millis(binary.LittleEndian.Uint64(b[8:])), seq: binary.LittleEndian.Uint64(b[16:]),
		source: binary.LittleEndian.Uint16(b[24:]), form: binary.LittleEndian.Uint16(b[26:]), number: binary.LittleEndian.Uint32(b[28:]), value: b[n:],
	}, b[recordHead:n]
}

// fewer merges runs until there are no more than can be merged at once.
func (s *spill) fewer(dir string, most int) (*spill, error) {
	for len(s.runs) > most {
		to, err := newSpill(dir)
		if err != nil {
			return s, spilled(err)
		}
		for from := 0; from < len(s.runs) && err == nil; from += most {
			err = to.take(s, s.runs[from:min(from+most, len(s.runs))])
		}
		if err != nil {
			_ = to.close() // the other error says more
			return s, err
		}
		if err := s.close(); err != nil {
			return to, err
		}
		s = to
	}
	return s, nil
}

// take merges runs of another file into one.
func (s *spill) take(of *spill, runs []extent) error {
	size := int64(0)
	for _, x := range runs {
		size += x.size
	}
	m, err := newMerge(of, runs)
	if err != nil {
		return err
	}
	w := s.section(size)
	var room []byte
	for {
		switch room, err = m.next(room[:0]); {
		case errors.Is(err, io.EOF):
			return spilled(w.Flush())
		case err != nil:
			return err
		}
		if _, err := w.Write(room); err != nil {
			return spilled(err)
		}
	}
}

// Len is part of heap.Interface.
func (m *merge) Len() int { return len(m.open) }

// Less is part of heap.Interface.
func (m *merge) Less(i, j int) bool { return m.open[i].compare(&m.open[j].entry) < 0 }

// Swap is part of heap.Interface.
func (m *merge) Swap(i, j int) { m.open[i], m.open[j] = m.open[j], m.open[i] }

// Push is part of heap.Interface; nothing is pushed.
func (m *merge) Push(any) {}

// Pop is part of heap.Interface.
func (m *merge) Pop() any {
	n := len(m.open) - 1
	r := m.open[n]
	m.open = m.open[:n]
	return r
}
