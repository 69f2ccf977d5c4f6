package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/segmill/segmill/consumer/group"
	"github.com/segmill/segmill/consumer/task"
)

// missing returns what keeps an instance from being ready, "" if nothing does.
func missing(st group.Status) string {
	if st.Ready {
		return ""
	}
	var b strings.Builder
	if st.Refused != "" {
		b.WriteString(st.Refused + "\n")
	}
	for _, t := range st.Tasks {
		switch {
		case t.State == task.Running || t.State == task.Finished:
			for _, w := range t.Waits {
				fmt.Fprintf(&b, "partition %d: waiting for %v\n", t.Partition, w)
			}
		case t.Restore != nil:
			fmt.Fprintf(&b, "partition %d: %v\n", t.Partition, t.Restore)
		default:
			b.WriteString(strings.TrimSpace(fmt.Sprintf("partition %d: %s %s", t.Partition, t.State, t.Error)) + "\n")
		}
	}
	if b.Len() == 0 && st.Joining != "" {
		return st.Joining + "\n"
	}
	if b.Len() == 0 {
		return "no partitions are assigned yet\n"
	}
	return b.String()
}

// health is what an instance says of itself.
type health struct {
	status func() group.Status
	// rules returns why the rules in force do not run, and what there is to know of the rules
	// beside; "" if there is nothing.
	rules func() (wrong, note string)
}

// ready returns the answer to whether the instance is ready, and what there is to know.
func (h *health) ready() (ok bool, text string) {
	wrong, note := h.rules()
	ok = wrong == ""
	for _, line := range []string{wrong, note} {
		if line != "" {
			text += line + "\n"
		}
	}
	st := h.status()
	for _, t := range st.Tasks {
		text += change(&t)
	}
	if lacks := missing(st); lacks != "" {
		return false, text + lacks
	}
	if ok {
		text = "ok\n" + text
	}
	return ok, text
}

// change says how far a partition has gone over to other rules, or why it does not; "" if it
// has them. It runs meanwhile.
func change(t *task.Status) string {
	switch {
	case t.Refused != "":
		return fmt.Sprintf("partition %d stays under %s: %s; segmill apply --accept-loss goes over without them\n", t.Partition, t.Rules, t.Refused)
	case t.Change != "":
		return fmt.Sprintf("partition %d goes over to other rules: %s\n", t.Partition, t.Change)
	}
	return ""
}

// serve listens on addr and serves /metrics, /healthz and /readyz until stop is
// called.
func serve(addr string, reg *prometheus.Registry, h health, log *slog.Logger) (stop func(), err error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("http: set another address, or \"\" for none: %w", err)
	}
	srv := &http.Server{
		Handler:           handler(reg, h),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		MaxHeaderBytes:    16 << 10,
	}
	done := make(chan struct{})
	go func() { // ends when stop shuts the server down, which waits for it
		defer close(done)
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("http", "error", err)
		}
	}()
	log.Info("http", "address", l.Addr().String())
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			srv.Close()
		}
		<-done
	}, nil
}

func handler(reg *prometheus.Registry, h health) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		ok, text := h.ready()
		if !ok {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		io.WriteString(w, text)
		for _, n := range h.status().NotRead {
			fmt.Fprintln(w, n)
		}
	})
	return mux
}
