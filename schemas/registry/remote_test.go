package registry

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"
)

// remoteOf returns a registry over HTTP, and what it logs.
func remoteOf(t testing.TB, h http.Handler) (Source, *strings.Builder) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	cl, err := sr.NewClient(sr.URLs(srv.URL))
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	return Confluent(cl, slog.New(slog.NewTextHandler(&log, nil))), &log
}

// Which subjects a schema has is read from either of two lists; a registry without
// both is trusted, and that is said once.
func TestSubjectsOfRegistries(t *testing.T) {
	for _, c := range []struct {
		name  string
		lists []string // those that the registry has
		want  []string
	}{
		{"Confluent", []string{"subjects", "versions"}, []string{"other-value"}},
		{"Apicurio", []string{"versions"}, []string{"other-value"}},
		{"neither", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			const schema = `{"type":"record","name":"R","fields":[]}`
			reg, log := remoteOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				rest, ok := strings.CutPrefix(r.URL.Path, "/schemas/ids/7")
				list := strings.Trim(rest, "/")
				switch {
				case !ok || list != "" && !slices.Contains(c.lists, list):
					http.Error(w, `{"error_code":40403,"message":"no"}`, http.StatusNotFound)
				case list == "subjects":
					fmt.Fprint(w, `["other-value"]`)
				case list == "versions":
					fmt.Fprint(w, `[{"subject":"other-value","version":1},{"subject":"other-value","version":2}]`)
				default:
					fmt.Fprintf(w, `{"schema":%q}`, schema)
				}
			}))
			for range 3 {
				text, subjects, err := reg.Schema(t.Context(), 7)
				if err != nil || text != schema || !slices.Equal(subjects, c.want) {
					t.Fatalf("%.20s %q %v", text, subjects, err)
				}
			}
			if got, want := strings.Count(log.String(), "cannot list the subjects"), 1; (got == want) != (c.want == nil) || got > 1 {
				t.Errorf("it logged %q", log)
			}
		})
	}
}
