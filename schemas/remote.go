package schemas

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/sr"
)

// SchemaRegistry returns the registry behind a Confluent client. How long an
// answer is waited for is the client's setting. log hears, once, of a registry that
// can't tell which subjects a schema has.
func SchemaRegistry(cl *sr.Client, log *slog.Logger) Registry { return &remote{cl: cl, log: log} }

type remote struct {
	cl    *sr.Client
	log   *slog.Logger
	blind sync.Once // has logged that subjects can't be told
}

// Schema asks the registry over HTTP.
func (r *remote) Schema(id int) (string, []string, error) {
	ctx := context.Background()
	s, err := r.cl.SchemaByID(ctx, id)
	if err != nil {
		if isNotFound(err) {
			return "", nil, ErrUnknownSchema
		}
		return "", nil, err
	}
	if s.Type != sr.TypeAvro {
		return "", nil, fmt.Errorf("%w: it is %v and not Avro", ErrUnknownSchema, s.Type)
	}
	subjects, err := r.subjects(ctx, id)
	return s.Schema, subjects, err
}

// subjects returns what a schema is registered under, none if the registry can't
// tell. Confluent's has two lists of it; Apicurio has the second one only.
func (r *remote) subjects(ctx context.Context, id int) ([]string, error) {
	l, err := r.cl.SubjectsByID(ctx, id)
	if err == nil || !isNotFound(err) {
		return l, err
	}
	versions, err := r.cl.SchemaVersionsByID(ctx, id)
	switch {
	case err == nil:
		for _, v := range versions {
			if !slices.Contains(l, v.Subject) {
				l = append(l, v.Subject)
			}
		}
		return l, nil
	case !isNotFound(err):
		return nil, err
	}
	r.blind.Do(func() {
		r.log.Warn("the schema registry can't tell which subjects a schema has, so schemas of other subjects than the inputs' are taken too: "+
			"it answers neither /schemas/ids/{id}/subjects nor /schemas/ids/{id}/versions", "id", id, "error", err)
	})
	return nil, nil
}

func isNotFound(err error) bool {
	var re *sr.ResponseError
	return errors.As(err, &re) && (re.StatusCode == http.StatusNotFound || re.StatusCode == http.StatusMethodNotAllowed)
}
