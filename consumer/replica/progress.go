package replica

import (
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Status is how far a restore has come.
type Status struct {
	// From, Next and End are changelog offsets: where reading began, has come to,
	// and ends. Compaction has left holes, so there are fewer records than offsets.
	From, Next, End int64
	Records, Bytes  int64
	// PerSecond is how many offsets a second have been passed, 0 if it is too soon
	// to say.
	PerSecond float64
	// Left is about how long reading will take, 0 if it is too soon to say.
	Left time.Duration
	// Customers is how many have been indexed, once everything is read.
	Customers int
}

// String says it in a line.
func (r Status) String() string {
	if r.Customers > 0 {
		return fmt.Sprintf("restored %s records, indexing, %s customers so far", grouped(r.End-r.From), grouped(int64(r.Customers)))
	}
	s := fmt.Sprintf("restoring %s of %s records", grouped(r.Next-r.From), grouped(r.End-r.From))
	if r.PerSecond > 0 {
		s += fmt.Sprintf(", %s/s, about %s left", grouped(int64(r.PerSecond)), inWords(r.Left))
	}
	return s
}

// grouped writes a number with commas.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// inWords writes a length of time without false exactness.
func inWords(d time.Duration) string {
	switch {
	case d < 90*time.Second:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 90*time.Minute:
		return fmt.Sprintf("%.0f min", d.Minutes())
	}
	return fmt.Sprintf("%.1f h", d.Hours())
}

// The log hears of a restore that takes longer than quietFor, every sayInterval.
const (
	quietFor    = 3 * time.Second
	sayInterval = 5 * time.Second
)

// Progress shows how far a restore has come: in a status, in the metrics and, if it
// takes long, in the log. A nil Progress shows nothing.
type Progress struct {
	Display
	start   time.Time
	say     time.Time // when to log next
	st      Status
	counted int64 // records that the counter has heard of
}

// Display is where progress is shown.
type Display struct {
	Now     func() time.Time
	Log     *slog.Logger
	Show    func(*Status)
	Left    prometheus.Gauge   // changelog offsets yet to be read
	Counter prometheus.Counter // records read
}

// Begin begins to show a restore from one changelog offset to another.
func (d Display) Begin(from, end int64) *Progress {
	p := &Progress{Display: d, start: d.Now()}
	p.say = p.start.Add(quietFor)
	p.st = Status{From: from, Next: from, End: end}
	p.update()
	return p
}

// Record takes in a record of so many bytes.
func (p *Progress) Record(bytes int) {
	if p != nil {
		p.st.Records++
		p.st.Bytes += int64(bytes)
	}
}

// Read says that everything below an offset has been read.
func (p *Progress) Read(next int64) {
	if p == nil {
		return
	}
	p.st.Next = next
	if took := p.Took(); took >= time.Second {
		p.st.PerSecond = float64(next-p.st.From) / took.Seconds()
		p.st.Left = 0
		if p.st.PerSecond > 0 {
			p.st.Left = time.Duration(float64(p.st.End-next) / p.st.PerSecond * float64(time.Second))
		}
	}
	p.update()
}

// Indexed says that everything has been read and how many customers are indexed.
func (p *Progress) Indexed(customers int) {
	if p != nil {
		p.st.Customers = customers
		p.update()
	}
}

func (p *Progress) update() {
	st := p.st
	p.Show(&st)
	p.Left.Set(float64(st.End - st.Next))
	p.Counter.Add(float64(st.Records - p.counted))
	p.counted = st.Records
	if now := p.Now(); !now.Before(p.say) {
		p.say = now.Add(sayInterval)
		p.Log.Info(st.String(), "records", st.Records, "bytes", st.Bytes, "next", st.Next, "end", st.End) //nolint:sloglint // for people
	}
}

// Took returns how long it has taken so far.
func (p *Progress) Took() time.Duration { return p.Now().Sub(p.start) }
