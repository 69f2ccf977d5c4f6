package consumer

import (
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// RestoreStatus is how far a restore has come.
type RestoreStatus struct {
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
func (r RestoreStatus) String() string {
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

// progress shows how far a restore has come: in a status, in the metrics and, if it
// takes long, in the log. A nil progress shows nothing.
type progress struct {
	now     func() time.Time
	log     *slog.Logger
	show    func(*RestoreStatus)
	left    prometheus.Gauge
	counter prometheus.Counter
	start   time.Time
	say     time.Time // when to log next
	st      RestoreStatus
	counted int64 // records that the counter has heard of
}

// begin begins to show a restore from one changelog offset to another.
func (p progress) begin(from, end int64) *progress {
	p.start = p.now()
	p.say = p.start.Add(quietFor)
	p.st = RestoreStatus{From: from, Next: from, End: end}
	p.update()
	return &p
}

// showRestore begins to show a restore of the task until done is called.
func (t *Task) showRestore(from, end int64) (p *progress, done func()) {
	m := t.o.cfg.Metrics
	n := strconv.Itoa(int(t.n))
	p = progress{
		now: t.o.cfg.Now, log: t.log, left: m.restoring.WithLabelValues(n), counter: m.restored,
		show: func(r *RestoreStatus) { t.set(func(st *TaskStatus) { st.Restore = r }) },
	}.begin(from, end)
	return p, func() {
		p.show(nil)
		m.restoring.DeleteLabelValues(n)
	}
}

// record takes in a record.
func (p *progress) record(bytes int) {
	if p != nil {
		p.st.Records++
		p.st.Bytes += int64(bytes)
	}
}

// read says that everything below an offset has been read.
func (p *progress) read(next int64) {
	if p == nil {
		return
	}
	p.st.Next = next
	if took := p.took(); took >= time.Second {
		p.st.PerSecond = float64(next-p.st.From) / took.Seconds()
		p.st.Left = 0
		if p.st.PerSecond > 0 {
			p.st.Left = time.Duration(float64(p.st.End-next) / p.st.PerSecond * float64(time.Second))
		}
	}
	p.update()
}

// indexed says that everything has been read and how many customers are indexed.
func (p *progress) indexed(customers int) {
	if p != nil {
		p.st.Customers = customers
		p.update()
	}
}

func (p *progress) update() {
	st := p.st
	p.show(&st)
	p.left.Set(float64(st.End - st.Next))
	p.counter.Add(float64(st.Records - p.counted))
	p.counted = st.Records
	if now := p.now(); !now.Before(p.say) {
		p.say = now.Add(sayInterval)
		p.log.Info(st.String(), "records", st.Records, "bytes", st.Bytes, "next", st.Next, "end", st.End)
	}
}

// took returns how long it has taken so far.
func (p *progress) took() time.Duration { return p.now().Sub(p.start) }
