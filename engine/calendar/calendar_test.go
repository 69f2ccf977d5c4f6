package calendar

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/segmill/segmill/engine/expr"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	l, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// docs/semantics.md, 8.16: a local time that a change of clocks skips moves forward
// to the first instant after the gap; of one that occurs twice it is the first.
func TestAtWhereClocksChange(t *testing.T) {
	const h = expr.Millis(3_600_000)
	for _, c := range []struct {
		zone string
		date Date
		at   expr.Millis
		want string
	}{
		{"Europe/Paris", Date{2026, 1, 31}, 9 * h, "2026-01-31T08:00:00Z"},
		{"Europe/Paris", Date{2026, 3, 29}, 2*h + h/2, "2026-03-29T01:00:00Z"},        // skipped: 02:30 does not exist
		{"Europe/Paris", Date{2026, 3, 29}, 3 * h, "2026-03-29T01:00:00Z"},            // the first that exists again
		{"Europe/Paris", Date{2026, 10, 25}, 2*h + h/2, "2026-10-25T00:30:00Z"},       // twice: the first, in summer time
		{"America/New_York", Date{2026, 11, 1}, h + h/2, "2026-11-01T05:30:00Z"},      // twice
		{"America/Sao_Paulo", Date{2018, 11, 4}, 0, "2018-11-04T03:00:00Z"},           // midnight is skipped
		{"Australia/Lord_Howe", Date{2026, 10, 4}, 2*h + h/4, "2026-10-03T15:30:00Z"}, // a gap of half an hour
		{"Pacific/Apia", Date{2011, 12, 30}, 9 * h, "2011-12-30T10:00:00Z"},           // a whole day is skipped
		{"UTC", Date{1969, 12, 31}, 0, "1969-12-31T00:00:00Z"},
	} {
		if got := c.date.At(zone(t, c.zone), c.at).Time().Format(time.RFC3339); got != c.want {
			t.Errorf("%v at %v in %s: %s, want %s", c.date, time.Duration(c.at)*time.Millisecond, c.zone, got, c.want)
		}
	}
}

// At is the inverse of reading a clock, wherever the clock shows a time once.
func TestAtAgainstClock(t *testing.T) {
	seed := rand.Uint64N(1 << 40)
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for _, name := range []string{"Europe/Paris", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia"} {
		loc := zone(t, name)
		for range 5000 {
			at := time.UnixMilli(r.Int64N(2_000_000_000_000)).In(loc)
			y, m, d := at.Date()
			ofDay := time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute +
				time.Duration(at.Second())*time.Second + time.Duration(at.Nanosecond())
			got := Date{y, m, d}.At(loc, expr.Millis(ofDay.Milliseconds()))
			if w := got.Time().In(loc); w.Format(time.DateTime) != at.Format(time.DateTime) || got > expr.MillisOf(at) {
				t.Fatalf("%s: %s became %s", name, at, w)
			}
		}
	}
}

// docs/semantics.md, 2.5 and 8.17: born on 29 February means 28 February in common
// years, or 1 March if so set.
func TestAnniversaries(t *testing.T) {
	born := Date{2000, 2, 29}
	for _, c := range []struct {
		years    int
		marFirst bool
		want     Date
	}{
		{1, false, Date{2001, 2, 28}},
		{1, true, Date{2001, 3, 1}},
		{4, false, Date{2004, 2, 29}},
		{4, true, Date{2004, 2, 29}},
		{100, false, Date{2100, 2, 28}},
	} {
		if got := born.Anniversary(c.years, c.marFirst); got != c.want {
			t.Errorf("%d years, 1 March %v: %v, want %v", c.years, c.marFirst, got, c.want)
		}
	}
	for _, c := range []struct {
		on       Date
		marFirst bool
		want     int
	}{
		{Date{2001, 2, 27}, false, 0},
		{Date{2001, 2, 28}, false, 1},
		{Date{2001, 2, 28}, true, 0},
		{Date{2001, 3, 1}, true, 1},
		{Date{1999, 1, 1}, false, 0},
		{Date{2026, 2, 28}, false, 26},
	} {
		if got := born.YearsUntil(c.on, c.marFirst); got != c.want {
			t.Errorf("years until %v, 1 March %v: %d, want %d", c.on, c.marFirst, got, c.want)
		}
	}
}

func TestDays(t *testing.T) {
	for days := int64(-200_000); days < 200_000; days += 17 {
		if got := OfDays(days).Days(); got != days {
			t.Fatalf("day %d became %d", days, got)
		}
	}
	if d := (Date{2026, 12, 31}).AddDays(1); d != (Date{2027, 1, 1}) {
		t.Errorf("%v", d)
	}
}

// Years never fall, also where clocks go back over midnight, and change at the
// instant that At gives.
func TestYearsNeverFall(t *testing.T) {
	born := Date{1980, 11, 7}
	for _, name := range []string{"America/St_Johns", "America/Havana", "Asia/Gaza", "Asia/Beirut", "Europe/Paris"} {
		loc := zone(t, name)
		for year := 2000; year <= 2012; year++ {
			// The last day of summer time in St. John's was the first Sunday of
			// November, or the last of October.
			for day := time.Date(year, 9, 1, 0, 0, 0, 0, time.UTC); day.Year() == year; day = day.AddDate(0, 0, 1) {
				born.Month, born.Day = day.Month(), day.Day()
				turn := born.Anniversary(year-1980, false).At(loc, 0)
				for m := expr.Millis(-90); m <= 90; m += 15 {
					want := year - 1980
					if m < 0 {
						want--
					}
					if got := born.YearsAt(turn+m*60_000, loc, false); got != want {
						t.Fatalf("%s, born %v, %d minutes after midnight of %d: %d years, want %d", name, born, m, year, got, want)
					}
				}
			}
		}
	}
}
