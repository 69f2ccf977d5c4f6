package schemas

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/segmill/segmill/schemas/bad"
	"github.com/segmill/segmill/schemas/encode"
	"github.com/segmill/segmill/schemas/frame"
	"github.com/segmill/segmill/schemas/registry"
)

// What is wrong with a record that cannot be read; see [bad.Input].
//
//nolint:revive // they are documented there
type (
	BadInput = bad.Input
	Cause    = bad.Cause
	Note     = bad.Note
	NoteKind = bad.NoteKind
	Settings = frame.Settings
)

// What notes are about; see [bad.Note].
const (
	NoteRefused = bad.Refused
	NoteUnknown = bad.Unknown
	NoteLeftOut = bad.LeftOut
	NoteDerived = bad.Derived
	NoteDoubled = bad.Doubled
	NoteSkipped = bad.Skipped
	NoteNoRate  = bad.NoRate
	NoteMixed   = bad.Mixed

	// NoteUndecided notes that a mapping says of a record neither that it is an event nor that it is none.
	NoteUndecided = bad.Undecided

	NumNoteKinds = bad.NumNoteKinds
)

// The causes that callers ask for.
const (
	CauseSize   = bad.Size
	CauseFormat = bad.Format

	CauseIdentity = bad.Identity
)

// What makes bytes of effects and events; see package encode.
//
//nolint:revive // they are documented there
type (
	Encoder      = encode.Encoder
	EventEncoder = encode.EventEncoder
	Format       = encode.Format
	IDs          = encode.IDs
	Output       = encode.Output
	HeaderSet    = encode.HeaderSet
)

// The formats, the sets of headers, and the type of a receipt.
const (
	Avro               = encode.Avro
	JSON               = encode.JSON
	CloudEventsHeaders = encode.CloudEventsHeaders
	IDHeaders          = encode.IDHeaders
	NoHeaders          = encode.NoHeaders
	ReceiptType        = encode.ReceiptType
)

// Headers makes the headers of outputs; see [encode.Headers].
type Headers[H ~struct {
	Key   string
	Value []byte
}] = encode.Headers[H]

// HeadersOf returns what makes the headers of e's outputs.
func HeadersOf[H ~struct {
	Key   string
	Value []byte
}](e *Encoder, set HeaderSet) *Headers[H] {
	return encode.HeadersOf[H](e, set)
}

// What a registry of schemas is, and what [Reader.Read] says of one; see package
// registry.
//
//nolint:revive // they are documented there
type (
	Registry = registry.Source
	Waiting  = registry.Waiting
)

// The errors of a [Registry] and of records that wait for one.
var (
	ErrRegistry      = registry.ErrWaiting
	ErrUnknownSchema = registry.ErrUnknown
)

// SchemaRegistry returns the registry behind a Confluent client; see
// [registry.Confluent].
func SchemaRegistry(cl *sr.Client, log *slog.Logger) Registry { return registry.Confluent(cl, log) }

// NewHTTPClient returns a client for a schema registry; see [registry.NewHTTPClient].
func NewHTTPClient(now func() time.Time, observe func(code string, took time.Duration)) *http.Client {
	return registry.NewHTTPClient(now, observe)
}
