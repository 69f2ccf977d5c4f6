package importing

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/schemas"
)

// record is an event on its way into the topic.
type record struct {
	partition int32
	at        engine.Millis
	seq       uint64 // its place in the files: chunk << seqBits | number in the chunk
	source    uint16 // the number of its topic
	form      uint16 // the number of what made its text, 0 if it is the line
	number    uint32 // MappedText.Number
	customer  string
	value     []byte
}

// seqBits is how much of record.seq is the number in the chunk: one of 256 KiB has less than
// 2^32 events, and there are less than 2^32 chunks below 1 PiB.
const seqBits = 32

// A record in a run:
//
//	0 length of what follows (4) | 4 partition (4) | 8 time (8) | 16 seq (8) |
//	24 source (2) | 26 form (2) | 28 number (4) | 32 length of the customer (2) |
//	34 customer, value
const (
	formAt     = 26
	recordHead = 34
)

func (r *record) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(recordHead-4+len(r.customer)+len(r.value)))
	b = binary.LittleEndian.AppendUint32(b, uint32(r.partition))
	b = binary.LittleEndian.AppendUint64(b, uint64(r.at))
	b = binary.LittleEndian.AppendUint64(b, r.seq)
	b = binary.LittleEndian.AppendUint16(b, r.source)
	b = binary.LittleEndian.AppendUint16(b, r.form)
	b = binary.LittleEndian.AppendUint32(b, r.number)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(r.customer)))
	return append(append(b, r.customer...), r.value...)
}

// runBytes is how much one goroutine sorts at once.
const runBytes = 64 << 20

// run is what one goroutine sorts in memory.
type run struct {
	spill   *spill
	limit   int64
	bytes   []byte // records as they are written
	entries []entry
}

// entry is where a record is in the memory of a run, and what it is sorted by.
type entry struct {
	at         engine.Millis
	seq        uint64
	partition  int32
	from, size uint32
}

func (a *entry) compare(b *entry) int {
	switch {
	case a.partition != b.partition:
		return cmp.Compare(a.partition, b.partition)
	case a.at != b.at:
		return cmp.Compare(a.at, b.at)
	}
	return cmp.Compare(a.seq, b.seq)
}

// add adds a record, and returns its bytes.
func (r *run) add(rec *record) []byte {
	from := len(r.bytes)
	if from > smallRun && cap(r.bytes) < int(r.limit) { // it will not be a small one
		r.bytes = slices.Grow(r.bytes, int(r.limit))
	}
	r.bytes = rec.append(r.bytes)
	r.entries = append(r.entries, entry{rec.at, rec.seq, rec.partition, uint32(from), uint32(len(r.bytes) - from)})
	return r.bytes[from:]
}

// smallRun is up to how many bytes the memory of a run grows step by step.
const smallRun = 4 << 20

// writeFull writes the run if it is full.
func (r *run) writeFull() error {
	if int64(len(r.bytes)) < r.limit {
		return nil
	}
	return r.write()
}

// write sorts the run and writes it, if there is anything in it.
func (r *run) write() error {
	if len(r.entries) == 0 {
		return nil
	}
	slices.SortFunc(r.entries, func(a, b entry) int { return a.compare(&b) })
	w := r.spill.section(int64(len(r.bytes)))
	for i := range r.entries {
		e := &r.entries[i]
		if _, err := w.Write(r.bytes[e.from : e.from+e.size]); err != nil {
			return spilled(err)
		}
	}
	r.bytes, r.entries = r.bytes[:0], r.entries[:0]
	return spilled(w.Flush())
}

// spill is a file of runs, one behind the other. It has no name.
type spill struct {
	file *os.File

	mu   sync.Mutex
	runs []extent
	end  int64
}

// extent is where a run is in its file.
type extent struct{ from, size int64 }

// newSpill makes a file in a directory.
func newSpill(dir string) (*spill, error) {
	f, err := os.CreateTemp(dir, "segmill-import-")
	if err != nil {
		return nil, err
	}
	// Its name is removed at once, so that nothing is left of it even after kill -9. Where
	// files that are open can't be removed, close removes it.
	_ = os.Remove(f.Name())
	return &spill{file: f}, nil
}

// writeBytes is how much is written at once.
const writeBytes = 1 << 20

// section returns what writes a run of a size.
func (s *spill) section(size int64) *bufio.Writer {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.end
	s.runs = append(s.runs, extent{at, size})
	s.end += size
	return bufio.NewWriterSize(io.NewOffsetWriter(s.file, at), writeBytes)
}

func (s *spill) close() error {
	err := s.file.Close()
	if e := os.Remove(s.file.Name()); e != nil && !errors.Is(e, os.ErrNotExist) {
		err = errors.Join(err, e)
	}
	return err
}

// spilled says what to do about a disk that has refused something.
func spilled(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("sorting on disk: %w: name a directory with more room with --tmp; it takes about as much as the files without compression", err)
}

// forms number what made texts of lines.
type forms struct {
	mu   sync.Mutex
	list []form // the first one is none
	by   map[form]uint16
}

// form is what a text says of itself: see schemas.MappedText.
type form struct{ mapping, stream string }

func newForms() *forms { return &forms{list: make([]form, 1), by: map[form]uint16{}} }

func (f *forms) of(t *schemas.MappedText) uint16 {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := form{t.Mapping, t.Stream}
	n, ok := f.by[k]
	if !ok {
		n = uint16(len(f.list)) // rules have some dozens
		f.list, f.by[k] = append(f.list, k), n
	}
	return n
}
