package sim

import (
	"time"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
)

// civil is a day of the calendar.
type civil struct{ year, month, day int }

// civilOf returns the civil day that a value of kind Date or Time names; an
// instant names the day that a calendar on the wall shows in that zone.
func civilOf(v expr.Value, zone *time.Location) civil {
	t := time.Unix(v.N*86_400, 0).UTC()
	if v.K == expr.Time {
		t = time.UnixMilli(v.N).In(zone)
	}
	return civil{t.Year(), int(t.Month()), t.Day()}
}

// today returns the civil day at an instant.
func today(now Millis, zone *time.Location) civil {
	return civilOf(expr.TimeValue(now), zone)
}

// days returns the day as a number of days since 1970-01-01.
func (c civil) days() int64 {
	return time.Date(c.year, time.Month(c.month), c.day, 0, 0, 0, 0, time.UTC).Unix() / 86_400
}

func (c civil) before(o civil) bool { return c.days() < o.days() }

// inYear returns the day on which c comes round in a year. A 29 February is the
// 28th in common years, or with marFirst the 1 March.
func (c civil) inYear(year int, marFirst bool) civil {
	leap := year%4 == 0 && (year%100 != 0 || year%400 == 0)
	if c.month == 2 && c.day == 29 && !leap {
		if marFirst {
			return civil{year, 3, 1}
		}
		return civil{year, 2, 28}
	}
	return civil{year, c.month, c.day}
}

// wholeYears returns how many whole years have passed from a day to another.
func wholeYears(from, to civil, marFirst bool) int64 {
	n := int64(to.year - from.year)
	if to.before(from.inYear(to.year, marFirst)) {
		n--
	}
	return max(0, n) // of a date that is still ahead
}

// clockAt returns the first instant at which the clocks in a zone show the given
// local time of a day (given in days since 1970-01-01); where they skip it, the
// first instant after the gap.
func clockAt(day int64, local Millis, zone *time.Location) Millis {
	target := Millis(day)*Day + local
	offset := func(t Millis) Millis {
		_, s := time.UnixMilli(int64(t)).In(zone).Zone()
		return Millis(s) * Second
	}
	first := engine.Never
	for t := target - 16*Hour; t <= target+16*Hour; t += 15 * Minute {
		if at := target - offset(t); at+offset(at) == target {
			first = min(first, at)
		}
	}
	if first < engine.Never {
		return first
	}
	t := target - 16*Hour
	for _, step := range []Millis{15 * Minute, Minute, Second, 1} {
		for t+step+offset(t+step) < target {
			t += step
		}
	}
	return t + 1
}
