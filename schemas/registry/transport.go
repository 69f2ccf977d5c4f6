package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// What an answer of a registry may be.
const (
	maxAnswer    = 1 << 20  // bytes, inflated
	largeAnswer  = 64 << 10 // larger than what a schema may be
	maxLarge     = 4        // so many of them are read at a time: the memory is bounded, too
	maxRedirects = 5
)

// NewHTTPClient returns a client for a schema registry that is safe from what a
// registry, or what is in its place, may answer: an answer is read up to 1 MiB,
// inflated, and redirects end. How long it may take, the context of a request says:
// with a timeout of its own, the client would make texts of our errors. observe, unless it is nil, is called for each request with
// the status, "error" if there was no answer, and how long the head of the answer took
// by the clock now.
func NewHTTPClient(now func() time.Time, observe func(code string, took time.Duration)) *http.Client {
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.MaxIdleConnsPerHost = MaxLookups
	base.MaxResponseHeaderBytes = 64 << 10
	return &http.Client{
		Transport:     &boundedTransport{base: base, now: now, observe: observe, large: make(chan struct{}, maxLarge)},
		CheckRedirect: checkRedirect,
	}
}

// checkRedirect ends redirects that do not end.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return &Error{req.Response.StatusCode, fmt.Errorf("it redirects more than %d times, at last to %s", maxRedirects, req.URL.Redacted())}
	}
	return nil
}

// boundedTransport bounds the bodies of answers.
type boundedTransport struct {
	base    http.RoundTripper
	now     func() time.Time
	observe func(code string, took time.Duration)
	large   chan struct{} // holds one for each answer that is large
}

// RoundTrip sends one request.
func (t *boundedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	start := t.now()
	resp, err := t.base.RoundTrip(req)
	if t.observe != nil {
		code := "error"
		if err == nil {
			code = strconv.Itoa(resp.StatusCode)
		}
		t.observe(code, t.now().Sub(start))
	}
	if err != nil {
		return nil, err
	}
	resp.Body = &boundedBody{ReadCloser: resp.Body, ctx: req.Context(), status: resp.StatusCode, left: maxAnswer, turn: t.large}
	return resp, nil
}

// boundedBody is the body of an answer up to maxAnswer bytes. A large one waits for its
// turn, and has it until it is closed.
type boundedBody struct {
	io.ReadCloser
	ctx          context.Context //nolint:containedctx // of the request
	status, left int
	turn         chan struct{}
	large        bool
}

// Read reads up to the bound; what is beyond is an error, and so is a body that breaks
// off. Both say which answer it was.
func (b *boundedBody) Read(p []byte) (int, error) {
	if !b.large && b.left < maxAnswer-largeAnswer {
		select {
		case b.turn <- struct{}{}:
			b.large = true
		case <-b.ctx.Done():
			return 0, &Error{b.status, fmt.Errorf("its answer is large, and others are being read: %w", b.ctx.Err())}
		}
	}
	bound := b.left
	if !b.large {
		bound -= maxAnswer - largeAnswer
	}
	p = p[:min(len(p), bound+1)]
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, &Error{b.status, errTooLarge}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = &Error{b.status, fmt.Errorf("its answer breaks off: %w", err)}
	}
	return n, err
}

// Close closes the body and gives its turn away.
func (b *boundedBody) Close() error {
	if b.large {
		b.large = false
		<-b.turn
	}
	return b.ReadCloser.Close()
}
