package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/internal/replay"
	"github.com/segmill/segmill/schemas"
)

// replayOutput writes what a replay emits.
type replayOutput interface {
	effects([]engine.Effect)
	end(replayed) // after the last effect
}

// replayed is what a replay comes to.
type replayed struct {
	counts    replay.Counts
	customers int
	summary   *replay.Summary
	at        engine.Millis // the clock at the end, Never if there were no events
}

// newOutput returns what writes effects to w in a format.
func newOutput(format, name string, w *bufio.Writer, width int) (replayOutput, error) {
	if format == "table" {
		t := &tableOutput{w: w, width: width}
		t.line("AT", "CUSTOMER", "", "SEGMENT OR TRIGGER", "WHY")
		return t, nil
	}
	enc, err := schemas.NewEncoder(schemas.JSON, name, schemas.IDs{})
	if err != nil {
		return nil, err
	}
	return &jsonOutput{w: w, enc: enc, whole: format == "json"}, nil
}

// jsonOutput writes effects as JSON objects: one per line, or all in one document with
// the summary.
type jsonOutput struct {
	w     *bufio.Writer // keeps its first error for Flush
	enc   *schemas.Encoder
	whole bool
	n     int
	b     []byte
	o     schemas.Output
}

func (j *jsonOutput) effects(effects []engine.Effect) {
	now := expr.MillisOf(time.Now())
	for i := range effects {
		j.b = j.enc.Append(j.b[:0], &j.o, &effects[i], now)
		if j.whole {
			j.separate()
		}
		_, _ = j.w.Write(j.o.Value)
		if j.n++; !j.whole {
			_ = j.w.WriteByte('\n')
		}
	}
}

// separate writes what stands between the effects of a document, and before the first.
func (j *jsonOutput) separate() {
	if j.n == 0 {
		_, _ = j.w.WriteString("{\"emitted\": [\n")
	} else {
		_, _ = j.w.WriteString(",\n")
	}
}

func (j *jsonOutput) end(r replayed) {
	if !j.whole {
		return
	}
	if j.n == 0 {
		j.separate()
	}
	doc := struct {
		At         *string               `json:"at"`
		Lines      int                   `json:"lines"`
		Customers  int                   `json:"customers"`
		Duplicates int                   `json:"duplicates"`
		Skipped    int                   `json:"skipped"`
		NoEvents   int                   `json:"no_events"`
		Bad        int                   `json:"bad"`
		Segments   []replay.SegmentCount `json:"segments"`
		Triggers   []replay.TriggerCount `json:"triggers"`
	}{
		nil, r.counts.Lines, r.customers, r.counts.Duplicates, r.counts.Skipped, r.counts.NoEvents, r.counts.Bad,
		append([]replay.SegmentCount{}, r.summary.Segments()...), append([]replay.TriggerCount{}, r.summary.Triggers()...),
	}
	if r.at != engine.Never {
		at := r.at.String()
		doc.At = &at
	}
	b, _ := json.Marshal(doc) // it holds texts and numbers
	fmt.Fprintf(j.w, "\n],\n\"summary\": %s}\n", b)
}

// tableOutput writes effects as lines of a table, cut at width characters; 0: whole.
type tableOutput struct {
	w     io.Writer
	width int
}

func (t *tableOutput) effects(effects []engine.Effect) {
	for i := range effects {
		e := &effects[i]
		why := app.Why(e)
		if e.Action != engine.Fired {
			why = e.Cause.String() + ": " + why
		}
		t.line(e.At.String(), e.Customer, e.Action.String(), e.Name, why)
	}
}

func (t *tableOutput) end(replayed) {}

func (t *tableOutput) line(at, customer, action, name, why string) {
	s := fmt.Sprintf("%-24s  %-12s  %-8s  %-24s  %s", at, customer, action, name, why)
	fmt.Fprintln(t.w, fit(strings.TrimRight(s, " "), t.width))
}

// fit cuts a line at so many characters, which an ellipsis then ends; 0: it is left as it
// is.
func fit(line string, width int) string {
	if width <= 0 || utf8.RuneCountInString(line) <= width {
		return line
	}
	return string([]rune(line)[:width-1]) + "…"
}

// widthOf returns the width of the terminal that w is, 0 if it is none.
func widthOf(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	if size := terminalSize(f); size != nil {
		width, _ := size()
		return width
	}
	return 0
}

// maxListed is how many segments or triggers a summary lists whatever became of them. Of
// more, those that nothing became of are counted only.
const maxListed = 40

// summaryLines are the sizes of segments, and how often triggers fired.
func summaryLines(s *replay.Summary) []string {
	var lines []string
	segments, triggers := s.Segments(), s.Triggers()
	width := len("SEGMENT")
	for _, c := range segments {
		width = max(width, len(c.ID))
	}
	for _, c := range triggers {
		width = max(width, len(c.ID))
	}
	quiet := 0
	if len(segments) > 0 {
		lines = append(lines, fmt.Sprintf("%-*s  %9s  %9s  %9s", width, "SEGMENT", "SIZE", "ENTERED", "EXITED"))
	}
	for _, c := range segments {
		if c.Entered == 0 && len(segments) > maxListed {
			quiet++
			continue
		}
		lines = append(lines, fmt.Sprintf("%-*s  %9d  %9d  %9d", width, c.ID, c.Size, c.Entered, c.Exited))
	}
	if quiet > 0 {
		lines = append(lines, fmt.Sprintf("and %s that nobody entered", app.Plural(quiet, "segment")))
	}
	quiet = 0
	if len(triggers) > 0 {
		lines = append(lines, fmt.Sprintf("%-*s  %9s", width, "TRIGGER", "FIRED"))
	}
	for _, c := range triggers {
		if c.Fired == 0 && len(triggers) > maxListed {
			quiet++
			continue
		}
		lines = append(lines, fmt.Sprintf("%-*s  %9d", width, c.ID, c.Fired))
	}
	if quiet > 0 {
		lines = append(lines, fmt.Sprintf("and %s that did not fire", app.Plural(quiet, "trigger")))
	}
	return lines
}

// progressLine shows on a terminal how far a replay is, about five times a
// second; on anything else it shows nothing.
type progressLine struct {
	w     *os.File
	size  int64        // of the file in bytes, 0 if it is not known
	read  func() int64 // how much of it was read
	start time.Time
	last  time.Time
	shown bool
}

func newProgress(w *os.File) *progressLine {
	p := &progressLine{start: time.Now()}
	if term.IsTerminal(int(w.Fd())) {
		p.w = w
	}
	return p
}

// show is called after every line of the file, and with no lines at the end.
func (p *progressLine) show(c replay.Counts) {
	if c.Lines == 0 {
		p.clear()
	}
	if p.w == nil || c.Lines%256 != 0 || c.Lines == 0 {
		return
	}
	now := time.Now()
	if now.Sub(p.last) < 200*time.Millisecond {
		return
	}
	p.last, p.shown = now, true
	var read int64
	if p.read != nil {
		read = p.read()
	}
	fmt.Fprint(p.w, "\r\x1b[K", progressText(c.Lines, read, p.size, now.Sub(p.start)))
}

// progressText says how far a replay is after some time: lines, and, of a file whose size
// is known, per cent and the time that is left if it goes on like that.
func progressText(lines int, read, size int64, took time.Duration) string {
	s := fmt.Sprintf("%d lines, %.0f a second", lines, float64(lines)/took.Seconds())
	if size <= 0 || read <= 0 {
		return s
	}
	done := min(1, float64(read)/float64(size))
	left := time.Duration(float64(took) * (1 - done) / done)
	return fmt.Sprintf("%.0f %%, %s left, %s", 100*done, left.Round(time.Second), s)
}

func (p *progressLine) clear() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}

// counted counts what is read.
type counted struct {
	io.Reader
	n int64
}

// Read is part of io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}
