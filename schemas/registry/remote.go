package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/sr"
)

// Confluent returns the registry behind a Confluent client, which should use
// [NewHTTPClient]. A registry that cannot list the subjects of a schema is logged,
// once.
func Confluent(cl *sr.Client, log *slog.Logger) Source { return &remote{cl: cl, log: log} }

type remote struct {
	cl    *sr.Client
	log   *slog.Logger
	blind sync.Once // has logged that subjects are not listed
}

// Schema asks the registry over HTTP.
func (r *remote) Schema(ctx context.Context, id int) (string, []string, error) {
	s, err := r.cl.SchemaByID(ctx, id)
	if err = answerOf(err); err != nil {
		if statusOf(err) == http.StatusNotFound {
			return "", nil, fmt.Errorf("%w: %w", ErrUnknown, err)
		}
		return "", nil, err
	}
	if s.Type != sr.TypeAvro {
		return "", nil, fmt.Errorf("it is %v and %w", s.Type, errNotAvro)
	}
	subjects, err := r.subjects(ctx, id)
	return s.Schema, subjects, err
}

// subjects returns what a schema is registered under, none if the registry can't
// tell. Confluent's has two lists of it; Apicurio has the second one only.
func (r *remote) subjects(ctx context.Context, id int) ([]string, error) {
	l, err := r.cl.SubjectsByID(ctx, id)
	if err = answerOf(err); err == nil || !isMissing(err) {
		return l, err
	}
	versions, err := r.cl.SchemaVersionsByID(ctx, id)
	switch err = answerOf(err); {
	case err == nil:
		for _, v := range versions {
			if !slices.Contains(l, v.Subject) {
				l = append(l, v.Subject)
			}
		}
		return l, nil
	case !isMissing(err):
		return nil, err
	}
	r.blind.Do(func() {
		r.log.Warn("the schema registry cannot list the subjects of a schema, so schemas of subjects other than the inputs' are accepted too: "+
			"it answers neither /schemas/ids/{id}/subjects nor /schemas/ids/{id}/versions", "id", id, "error", err)
	})
	return nil, nil
}

// isMissing reports whether an error says that a registry has no such list.
func isMissing(err error) bool {
	status := statusOf(err)
	return status == http.StatusNotFound || status == http.StatusMethodNotAllowed
}

// statusOf returns the status of an answer, 0 if an error is none.
func statusOf(err error) int {
	var answer *Error
	if errors.As(err, &answer) {
		return answer.Status
	}
	return 0
}

// answerOf makes an *Error of an error of the client that is an answer.
func answerOf(err error) error {
	var refused *sr.ResponseError
	var answer *Error
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &answer):
		return answer
	case errors.As(err, &refused):
		return &Error{refused.StatusCode, fmt.Errorf("%q", clipText(refused.Error()))}
	case errors.As(err, &typ):
		return fmt.Errorf("its JSON is not a schema: %w", errNotAvro)
	case errors.As(err, &syntax), errors.Is(err, io.ErrUnexpectedEOF):
		return &Error{http.StatusOK, fmt.Errorf("its answer is not JSON: %w", err)}
	}
	return err
}
