// Package registry asks a schema registry for the schemas that records name.
//
// The one rule it keeps: no answer is final. A refusal holds for the records that
// were there when the registry was asked, an error is asked about again, and what is
// remembered, awaited and downloaded is bounded whatever the registry does.
package registry

import (
	"context"
	"errors"
	"fmt"

	"github.com/segmill/segmill/schemas/bad"
)

// Source knows the schemas that records name by number. It is called from
// several goroutines.
type Source interface {
	// Schema returns the Avro schema with an id and the subjects that it is
	// registered under, none if the registry cannot tell. The error wraps
	// ErrUnknown if there is no schema with that id, and is an *Error if
	// the registry's answer is something else; any other error means that it could not
	// be asked.
	Schema(ctx context.Context, id int) (text string, subjects []string, err error)
}

// ErrWaiting is wrapped by errors that say nothing about the
// record: its schema is not known yet. Read the record again later; it is not a dead
// letter.
var ErrWaiting = errors.New("waiting for the schema registry")

// ErrUnknown is what a [Source] returns for an id that it does not have.
var ErrUnknown = errors.New("no schema has this id")

// errForeign is why a schema is refused that is registered for others.
var errForeign = errors.New("none of them an input subject")

// errNotAvro is why a schema of another kind is refused.
var errNotAvro = errors.New("not Avro")

// errTooLarge ends the reading of an answer that is larger than any schema may be.
var errTooLarge = fmt.Errorf("the answer is longer than %d bytes", maxAnswer)

// Error is an answer of a registry that is not a schema.
type Error struct {
	Status int   // of HTTP
	Err    error // what is wrong with the answer, or what the registry says
}

// Error says what the registry answered.
func (e *Error) Error() string {
	return fmt.Sprintf("the schema registry answers %d: %s", e.Status, clipText(e.Err.Error()))
}

// Unwrap returns what is wrong with the answer.
func (e *Error) Unwrap() error { return e.Err }

// Waiting is the error about a record whose schema is not known yet.
// It wraps ErrWaiting.
type Waiting struct {
	ID     uint32 // of the schema
	Status int    // of the registry's last answer, 0 if there was none
	Reason error  // nil while the first answer is waited for
}

// Error names the schema and why it is waited for.
func (e *Waiting) Error() string {
	if e.Reason == nil {
		return fmt.Sprintf("schema %d: %v", e.ID, ErrWaiting)
	}
	return fmt.Sprintf("schema %d: %v: %v", e.ID, ErrWaiting, e.Reason)
}

// Unwrap returns ErrWaiting.
func (e *Waiting) Unwrap() error { return ErrWaiting }

// waitingFor returns why a schema is waited for after an error.
func waitingFor(id uint32, err error) *Waiting {
	w := &Waiting{ID: id, Reason: err}
	var answer *Error
	switch {
	case errors.As(err, &answer):
		w.Status = answer.Status
	case !errors.Is(err, ErrUnknown) && !errors.Is(err, errForeign):
		w.Reason = fmt.Errorf("it does not answer: %w", err)
	}
	return w
}

// verdict is what an answer means for the records that name the schema.
type verdict uint8

const (
	waitFor verdict = iota // it says nothing about the schema
	unsure                 // there is no such schema, unless the answer is out of date
	refuse                 // records with this schema can't be read
)

// judge says what an error of a registry means. others: it has answered other ids with
// a schema, so that what it forbids, it forbids about this one.
func judge(err error, others bool) verdict {
	var answer *Error
	switch {
	case errors.Is(err, ErrUnknown), errors.Is(err, errForeign):
		return unsure
	case errors.Is(err, errNotAvro):
		return refuse
	case !errors.As(err, &answer):
		return waitFor
	case errors.Is(err, errTooLarge) && answer.Status == 200 && others:
		return refuse
	}
	switch answer.Status {
	case 400, 410, 422:
		return refuse
	case 403:
		if others {
			return refuse
		}
	}
	return waitFor
}

// refusedID returns the dead letter's text for a verdict.
func refusedID(id uint32, err error) *bad.Input {
	if errors.Is(err, ErrUnknown) {
		return bad.New(bad.Schema, "", "schema %d: %v; was the record written for another registry?", id, err)
	}
	return bad.New(bad.Schema, "", "schema %d is refused: %v", id, err)
}

// maxClip is how much is repeated of what a registry says.
const maxClip = 160

// clipText shortens what is not ours.
func clipText(s string) string {
	if len(s) > maxClip {
		return fmt.Sprintf("%.*q…", maxClip, s)
	}
	return s
}
