// Package calendar does civil dates: whole years between two dates, the dates of
// anniversaries, and the instant of a local time in a zone whose clocks change.
// It is pure; zones come in as values.
package calendar

import (
	"time"

	"github.com/segmill/segmill/engine/expr"
)

// Date is a civil date: a day without a zone.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// DayMillis is the length of a civil day without a change of clocks.
const DayMillis = 86_400_000

// OfDays returns the date that many days after 1970-01-01.
func OfDays(days int64) Date { return ofTime(time.Unix(days*86_400, 0).UTC()) }

// Of returns the civil date of a value in a zone: of a Date the date itself, of
// a Time the local date. ok is false for other kinds.
func Of(v expr.Value, loc *time.Location) (d Date, ok bool) {
	switch v.K {
	case expr.Date:
		return OfDays(v.N), true
	case expr.Time:
		return ofTime(expr.Millis(v.N).Time().In(loc)), true
	}
	return Date{}, false
}

func ofTime(t time.Time) Date {
	y, m, d := t.Date()
	return Date{y, m, d}
}

// Days returns the number of days from 1970-01-01 to d.
func (d Date) Days() int64 {
	return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC).Unix() / 86_400
}

// AddDays returns the date n days later.
func (d Date) AddDays(n int) Date { return OfDays(d.Days() + int64(n)) }

// Anniversary returns the date that is the given number of years after d. For 29
// February it is 28 February in common years, or 1 March if marFirst is set.
func (d Date) Anniversary(years int, marFirst bool) Date {
	a := Date{d.Year + years, d.Month, d.Day}
	if d.Month == time.February && d.Day == 29 && !leap(a.Year) {
		if a.Day = 28; marFirst {
			a.Month, a.Day = time.March, 1
		}
	}
	return a
}

func leap(y int) bool { return y%4 == 0 && (y%100 != 0 || y%400 == 0) }

// YearsUntil returns how many whole years lie between d and on; 0 if on is
// before d.
func (d Date) YearsUntil(on Date, marFirst bool) int {
	y := on.Year - d.Year
	if y > 0 && d.Anniversary(y, marFirst).Days() > on.Days() {
		y--
	}
	return max(0, y)
}

// YearsAt returns how many whole years have passed since d at an instant: they
// change at local midnight, at the first of two. The local date alone would not
// do: where clocks go back from just after midnight (St. John's did until 2011),
// it is yesterday again for an hour, and nobody becomes younger.
func (d Date) YearsAt(now expr.Millis, loc *time.Location, marFirst bool) int {
	y := d.YearsUntil(ofTime(now.Time().In(loc)), marFirst)
	if d.Anniversary(y+1, marFirst).At(loc, 0) <= now {
		y++
	}
	return y
}

// At returns the instant of a local time, given in milliseconds after midnight,
// on d in loc. A time that a change of clocks skips becomes the first instant
// after the gap; of one that comes twice it is the first.
func (d Date) At(loc *time.Location, ofDay expr.Millis) expr.Millis {
	wall := d.Days()*DayMillis + int64(ofDay)
	early, late := offset(loc, wall-DayMillis), offset(loc, wall+DayMillis)
	first, second := wall-early, wall-late
	firstOK, secondOK := offset(loc, first) == early, offset(loc, second) == late
	switch {
	case firstOK && (!secondOK || first <= second):
		return expr.Millis(first)
	case secondOK:
		return expr.Millis(second)
	}
	// Neither offset gives this wall time: it was skipped. Read with the offset
	// before the gap it lies behind the change.
	start, _ := time.UnixMilli(first).In(loc).ZoneBounds()
	return expr.Millis(start.UnixMilli())
}

// offset returns the zone's offset at an instant, in milliseconds.
func offset(loc *time.Location, ms int64) int64 {
	_, s := time.UnixMilli(ms).In(loc).Zone()
	return int64(s) * 1000
}
