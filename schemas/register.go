package schemas

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/sr"
)

// Subject returns the subject that the schema of a topic's values is registered
// under by default.
func Subject(topic string) string { return topic + "-value" }

// Register registers schemas and returns their ids by subject. subjects says which
// schema (a name as [Text] takes it) each subject has. A schema that is registered
// already keeps its id. An error wraps what the registry said: a refusal means
// that the subject holds a schema that ours is not compatible with.
func Register(ctx context.Context, cl *sr.Client, subjects map[string]string) (map[string]int, error) {
	ids := make(map[string]int, len(subjects))
	for _, subject := range slices.Sorted(maps.Keys(subjects)) {
		text, err := Text(subjects[subject])
		if err != nil {
			return nil, err
		}
		s, err := cl.CreateSchema(ctx, subject, sr.Schema{Schema: text, Type: sr.TypeAvro})
		if err != nil {
			return nil, fmt.Errorf("register %s under subject %q: %w", subjects[subject], subject, err)
		}
		ids[subject] = s.ID
	}
	return ids, nil
}
