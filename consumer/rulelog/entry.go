package rulelog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/xxh3"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/internal/wire"
)

// File is a rule file.
type File struct {
	Name string
	Text []byte
}

// Draft is a rule set that is to be written.
type Draft struct {
	// Base is the number of the set that it replaces, 0 if there is none.
	Base  uint64
	Files []File
	// Versions is changelog.HashVersions of what its engine says of its versions.
	Versions [16]byte
	// Who changes the rules, and why; for people. Up to MaxWho and MaxWhy bytes.
	Who, Why string
	// At is when, by the wall clock of the writer.
	At engine.Millis
	// AcceptLoss lets the set come in force although events that its rules look back to have
	// been deleted.
	AcceptLoss bool
}

// Entry is a rule set in the log that counts.
type Entry struct {
	// Number is 1 for the first set that counts, and one more than Base.
	Number, Base uint64
	// Content is Content of the files.
	Content  [16]byte
	Versions [16]byte
	Who, Why string
	At       engine.Millis
	// AcceptLoss is that of the Draft.
	AcceptLoss bool
	// Offset is that of the last record of the set.
	Offset int64

	id     writeID
	packed []byte // the files; reading the log has shown that they can be unpacked
}

// Limits of what is written and read, in bytes and numbers.
const (
	MaxWho = 256
	MaxWhy = 4096
	// MaxTexts is how long the names and texts of a set are together.
	MaxTexts = 64 << 20
	maxName  = 4096
	// maxRecord is how long key and value of a record are together: well below the mebibyte
	// that brokers take unless configured.
	maxRecord = 900_000
	maxParts  = 1 << 10
)

// Content returns a hash of texts that depends neither on their names nor on their order: the
// same files are the same rules in whatever directory they are.
func Content(files []File) [16]byte {
	texts := make([][16]byte, len(files))
	for i, f := range files {
		texts[i] = xxh3.Hash128(f.Text).Bytes()
	}
	slices.SortFunc(texts, func(a, b [16]byte) int { return slices.Compare(a[:], b[:]) })
	var all []byte
	for _, h := range texts {
		all = append(all, h[:]...)
	}
	return xxh3.Hash128(all).Bytes()
}

// flagAcceptLoss is set in the flags if AcceptLoss is.
const flagAcceptLoss = 1

// append appends the stored form:
//
//	| flags (1) | at | who | why | versions (16) | content (16) | files, compressed with zstd |
//
// The files are
//
//	| number | name, text | … |
//
// Numbers are varints, at a signed one; texts have their length in front.
func (d *Draft) append(b []byte) ([]byte, error) {
	plain := binary.AppendUvarint(nil, uint64(len(d.Files)))
	for _, f := range d.Files {
		if len(f.Name) > maxName {
			return nil, fmt.Errorf("a file has a name of %d bytes, which may have %d", len(f.Name), maxName)
		}
		plain = wire.AppendText(wire.AppendText(plain, f.Name), string(f.Text))
	}
	switch {
	case len(plain) > MaxTexts:
		return nil, fmt.Errorf("the files have %d bytes, and a rule set may have %d", len(plain), MaxTexts)
	case len(d.Who) > MaxWho:
		return nil, fmt.Errorf("the name of who changes the rules has %d bytes, and may have %d", len(d.Who), MaxWho)
	case len(d.Why) > MaxWhy:
		return nil, fmt.Errorf("the reason has %d bytes, and may have %d", len(d.Why), MaxWhy)
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
	if err != nil {
		return nil, err
	}
	content := Content(d.Files)
	var flags byte
	if d.AcceptLoss {
		flags |= flagAcceptLoss
	}
	b = binary.AppendVarint(append(b, flags), int64(d.At))
	b = wire.AppendText(wire.AppendText(b, d.Who), d.Why)
	b = append(append(b, d.Versions[:]...), content[:]...)
	return enc.EncodeAll(plain, b), enc.Close()
}

var errEntry = errors.New("the rule set in it is not readable")

// decodeEntry reads the stored form. The entry keeps part of b.
func decodeEntry(b []byte) (*Entry, error) {
	r := wire.NewReader(b)
	flags := r.Byte()
	if flags&^flagAcceptLoss != 0 {
		return nil, fmt.Errorf("%w: its flags are %#x", ErrFormat, flags)
	}
	e := &Entry{AcceptLoss: flags&flagAcceptLoss != 0, At: engine.Millis(r.Varint()), Who: r.TextTo(MaxWho), Why: r.TextTo(MaxWhy)}
	copy(e.Versions[:], r.Take(len(e.Versions)))
	copy(e.Content[:], r.Take(len(e.Content)))
	if r.Bad() {
		return nil, errEntry
	}
	e.packed = r.Left()
	files, err := e.Files()
	if err == nil && Content(files) != e.Content {
		err = fmt.Errorf("%w: its files are not those that were written", errEntry)
	}
	return e, err
}

// Files returns the files of the set.
func (e *Entry) Files() ([]File, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxTexts))
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	plain, err := dec.DecodeAll(e.packed, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errEntry, err)
	}
	r := wire.NewReader(plain)
	files := make([]File, r.Count(2)) // at least one byte for each length
	for i := range files {
		files[i] = File{Name: r.TextTo(maxName), Text: r.Bytes()}
	}
	if !r.Done() {
		return nil, errEntry
	}
	return files, nil
}
