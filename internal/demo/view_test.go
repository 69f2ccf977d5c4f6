package demo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
)

// testView is a view of some effects.
func testView(t *testing.T, out io.Writer) *view {
	t.Helper()
	s := &shop{}
	s.at.Store(from.UnixMilli())
	s.published.Store(1234)
	v := newView(Options{Rules: shopRules(t), Customers: 50, Out: out}, s)
	at := engine.Millis(from.UnixMilli())
	v.effects(0, []engine.Effect{
		{Action: engine.Entered, Customer: "c0001", Name: "lifecycle/new", At: at, Cause: engine.CauseEvent},
		{Action: engine.Exited, Customer: "c0001", Name: "lifecycle/new", At: at + 60_000, Cause: engine.CauseEvent},
		{Action: engine.Exited, Customer: "c0001", Name: "loyal", At: at + 60_000, Cause: engine.CauseTimer},
		{Action: engine.Entered, Customer: "c0001", Name: "lifecycle/active", From: "lifecycle/new", At: at + 60_000, Cause: engine.CauseEvent},
		{Action: engine.Fired, Customer: "c0002", Name: "silent_45d", At: at + 120_000, Message: &engine.Message{Kind: "inactivity", Fields: []engine.Field{{Name: "last_event_at", Value: expr.TimeValue(at)}, {Name: "days_silent", Value: expr.IntValue(45)}}}},
		{Action: engine.Fired, Customer: "c0003", Name: "welcome_to_the_club", At: at + 180_000, Message: &engine.Message{Kind: "rule"}},
	})
	v.members["loyal"] = 3
	return v
}

const lines1 = `2026-01-01 00:00  fast-forward  1234 events  4 changes, 2 triggers
  2026-01-01 00:00  c0001    entered  lifecycle/new (event)
  2026-01-01 00:01  c0001    exited   loyal (timer)
  2026-01-01 00:01  c0001    moved    lifecycle/new -> lifecycle/active
  2026-01-01 00:02  c0002    fired    silent_45d: silent for 45 days since 2026-01-01T00:00:00.000Z
  2026-01-01 00:03  c0003    fired    welcome_to_the_club
`

func TestLines(t *testing.T) {
	var out bytes.Buffer
	v := testView(t, &out)
	if err := v.draw(); err != nil || out.String() != lines1 {
		t.Errorf("error %v, got\n%s", err, out.String())
	}

	out.Reset()
	v.shop.present.Store(true)
	if err := v.draw(); err != nil || out.String() != "2026-01-01 00:00  live  1234 events  4 changes, 2 triggers\n" {
		t.Errorf("error %v; nothing new, and got\n%s", err, out.String())
	}

	out.Reset()
	for i := range 300 {
		v.effects(0, []engine.Effect{{Action: engine.Fired, Customer: fmt.Sprint("n", i), Name: "big_order", Message: &engine.Message{Kind: "rule"}}})
	}
	if err := v.draw(); err != nil {
		t.Error(err)
	}
	if got := out.String(); strings.Count(got, "\n") != 7 || !strings.Contains(got, " n295 ") || !strings.Contains(got, " n299 ") ||
		!strings.HasSuffix(got, "  and 295 more before these\n") {
		t.Errorf("got\n%s", got)
	}
	if len(v.news) > kept {
		t.Errorf("%d news are kept", len(v.news))
	}
}

// escapes are what terminals understand.
var escapes = regexp.MustCompile(`\x1b\[[0-9;?]*[a-zA-Z]`)

// TestPicture draws in many sizes: nothing is wider or higher than the terminal.
func TestPicture(t *testing.T) {
	v := testView(t, io.Discard)
	for _, colour := range []bool{false, true} {
		v.opt.Colour = colour
		for width := 1; width < 220; width += 7 {
			for height := 1; height < 70; height += 3 {
				got := v.picture(width, height)
				rows := strings.Split(escapes.ReplaceAllString(got, ""), "\r\n")
				if len(rows) > height {
					t.Fatalf("%dx%d: %d lines", width, height, len(rows))
				}
				for _, l := range rows[:len(rows)-1] {
					if utf8.RuneCountInString(l) > width {
						t.Fatalf("%dx%d: %q", width, height, l)
					}
				}
			}
		}
	}
	full := escapes.ReplaceAllString(v.picture(100, 40), "")
	for _, want := range []string{
		"SEGMENTS, members now, after 4 changes", "TRIGGERS, 2 fired so far", "Ctrl-C ends the demo", "moved    lifecycle/new -> lifecycle/active",
		"young_instagram", "order_anniversary", "█",
	} {
		if !strings.Contains(full, want) {
			t.Errorf("no %q in\n%s", want, full)
		}
	}
	rows := strings.Split(escapes.ReplaceAllString(v.picture(80, 24), ""), "\r\n")
	if !slices.ContainsFunc(rows, func(l string) bool { return strings.Contains(l, "young_instagram") }) {
		t.Errorf("80x24 does not show every segment:\n%s", strings.Join(rows, "\n"))
	}
	if small := v.picture(30, 20); !strings.Contains(small, " more") {
		t.Errorf("30x20 does not say that something is left out:\n%s", small)
	}
}

func TestFinish(t *testing.T) {
	var out bytes.Buffer
	v := testView(t, &out)
	v.start = time.Now()
	if err := v.finish(); err != nil {
		t.Fatal(err)
	}
	got := out.String()
	if !strings.HasPrefix(got, "\n1234 events of 50 customers up to 2026-01-01 00:00, in 0s: 4 membership changes, 2 triggers\n  abroad ") ||
		!strings.Contains(got, "\n  lifecycle/active                  1 members\n") || !strings.Contains(got, "\n  silent_45d                        1 fired\n") ||
		strings.Contains(got, "\x1b") {
		t.Errorf("got\n%s", got)
	}
	out.Reset()
	v.opt.Size = func() (int, int) { return 80, 24 }
	if err := v.finish(); err != nil || !strings.HasPrefix(out.String(), "\x1b[?25h\x1b[?1049l\n1234") {
		t.Errorf("the terminal is not given back: %v %q", err, out.String())
	}
}

type closed struct{}

func (closed) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// TestClosedOutput: the view ends when nobody reads it.
func TestClosedOutput(t *testing.T) {
	if err := testView(t, closed{}).run(t.Context()); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("error %v", err)
	}
}

func TestValidate(t *testing.T) {
	good := Options{Customers: 1, Past: day, CatchUp: time.Second}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for _, change := range []func(*Options){
		func(o *Options) { o.Customers = 0 }, func(o *Options) { o.Customers = maxCustomers + 1 },
		func(o *Options) { o.Past = 0 }, func(o *Options) { o.Past = maxPast + 1 },
		func(o *Options) { o.CatchUp = 0 }, func(o *Options) { o.For = -1 },
	} {
		o := good
		if change(&o); o.Validate() == nil {
			t.Errorf("%+v is valid", o)
		}
	}
}
