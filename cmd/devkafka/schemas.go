package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"
)

// saved is one schema in the file: the ids in stored records must mean the same
// after a restart.
type saved struct {
	Subject string    `json:"subject"`
	Version int       `json:"version"`
	ID      int       `json:"id"`
	Schema  sr.Schema `json:"schema"`
}

func loadSchemas(reg *srfake.Registry, file string) (err error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var all []saved
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	if err != nil {
		return fmt.Errorf("schemas of an earlier run: %w", err)
	}
	sortByID(all)
	defer func() {
		if r := recover(); r != nil { // SeedSchema's answer to a wrong file
			err = fmt.Errorf("schemas of an earlier run: %s: %v", file, r)
		}
	}()
	seen := map[int]bool{}
	for _, s := range all {
		if seen[s.ID] { // the same schema under another subject
			if _, _, err := reg.RegisterSchema(s.Subject, s.Schema); err != nil {
				return fmt.Errorf("schemas of an earlier run: %s: %w", s.Subject, err)
			}
			continue
		}
		reg.SeedSchema(s.Subject, s.Version, s.ID, s.Schema)
		seen[s.ID] = true
	}
	return nil
}

// saving writes all schemas to a file after every request that may have changed
// one.
func saving(h http.Handler, file string) http.Handler {
	var mu sync.Mutex
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r)
		if r.Method == http.MethodGet {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if err := save(r.Context(), h, file); err != nil {
			slog.Error("schemas not saved", "file", file, "error", err)
		}
	})
}

func save(ctx context.Context, h http.Handler, file string) error {
	srv := httptest.NewServer(h)
	defer srv.Close()
	cl, err := sr.NewClient(sr.URLs(srv.URL))
	if err != nil {
		return err
	}
	subjects, err := cl.Subjects(ctx)
	if err != nil {
		return err
	}
	var all []saved
	for _, subject := range subjects {
		schemas, err := cl.Schemas(ctx, subject)
		if err != nil {
			return err
		}
		for _, s := range schemas {
			all = append(all, saved{s.Subject, s.Version, s.ID, s.Schema})
		}
	}
	sortByID(all)
	b, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	tmp := file + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}
