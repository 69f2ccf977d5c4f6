package page

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The measures of a chart, in the units of its viewBox.
const (
	chartWidth  = 420
	chartHeight = 170
	left        = 46
	right       = 8
	top         = 8
	bottom      = 22
)

// mostBins is how many places a chart has from left to right. More periods share one, as
// many each, but for the last.
const mostBins = 120

// chart is a drawing over time.
type chart struct {
	Title, Label  string
	Width, Height int
	Keys          []key
	Ticks         []tick
	Texts         []label
	Bars, Hits    []rect
	Lines         []path
}

type key struct{ Class, Name string }

type tick struct{ Class, X1, Y1, X2, Y2 string }

type label struct{ X, Y, Anchor, Text string }

type rect struct{ Class, X, Y, Width, Height, Text string }

type path struct{ Class, Path string }

// series is a row of numbers, one for each period.
type series struct {
	class, name string // old or new
	values      []int
}

// axis maps periods and numbers to places in a chart.
type axis struct {
	periods     []string
	bins        [][2]int // of periods: from, before
	least, most int      // numbers
}

func newAxis(periods []string, least, most int) axis {
	a := axis{periods: periods}
	size := (len(periods) + mostBins - 1) / mostBins
	for i := 0; i < len(periods); i += size {
		a.bins = append(a.bins, [2]int{i, min(i+size, len(periods))})
	}
	a.most = nice(most)
	a.least = -nice(-least)
	if a.most == 0 && a.least == 0 {
		a.most = 1
	}
	return a
}

// nice is the least of 0, 1, 2, 3, 4, 6, 8, 10, 20, 30 and so on that is not below n.
func nice(n int) int {
	if n <= 0 {
		return 0
	}
	for unit := 1; ; unit *= 10 {
		for _, k := range []int{1, 2, 3, 4, 6, 8} {
			if k*unit >= n {
				return k * unit
			}
		}
	}
}

func (a *axis) width() float64 { return (chartWidth - left - right) / float64(max(1, len(a.bins))) }

func (a *axis) x(bin int) float64 { return left + a.width()*float64(bin) }

func (a *axis) y(n int) float64 {
	return top + (chartHeight-top-bottom)*float64(a.most-n)/float64(a.most-a.least)
}

// chart returns an empty chart with the axes.
func (a *axis) chart(title string, keys ...key) chart {
	c := chart{Title: title, Width: chartWidth, Height: chartHeight, Keys: keys}
	for _, n := range a.marks() {
		class := "grid"
		if n == 0 {
			class = "axis"
		}
		y := coordinate(a.y(n))
		c.Ticks = append(c.Ticks, tick{class, coordinate(left), y, coordinate(chartWidth - right), y})
		c.Texts = append(c.Texts, label{coordinate(left - 6), coordinate(a.y(n) + 4), "end", short(max(n, -n))})
	}
	const labels = 4
	for i := range min(labels, len(a.bins)) {
		bin, anchor := 0, "start"
		if n := min(labels, len(a.bins)) - 1; n > 0 {
			bin = i * (len(a.bins) - 1) / n
		}
		x := a.x(bin)
		switch {
		case i == labels-1:
			x, anchor = chartWidth-right, "end"
		case i > 0:
			x, anchor = x+a.width()/2, "middle"
		}
		c.Texts = append(c.Texts, label{coordinate(x), coordinate(chartHeight - 6), anchor, a.periods[a.bins[bin][0]]})
	}
	return c
}

// marks are the numbers that are written at the axis: 0, the ends, and the middle on either
// side, as far as there is room between them.
func (a *axis) marks() (l []int) {
	const room = 14
	for _, n := range []int{0, a.most, a.least, a.most / 2, a.least / 2} {
		if !slices.ContainsFunc(l, func(other int) bool { return math.Abs(a.y(n)-a.y(other)) < room }) {
			l = append(l, n)
		}
	}
	return l
}

// hits are what shows the numbers of each bin to who points at it.
func (a *axis) hits(c *chart, text func(bin int) string) {
	for i := range a.bins {
		c.Hits = append(c.Hits, rect{
			X: coordinate(a.x(i)), Y: coordinate(top), Width: coordinate(a.width()), Height: coordinate(chartHeight - top - bottom),
			Text: a.when(i) + ": " + text(i),
		})
	}
}

// when names the periods of a bin.
func (a *axis) when(bin int) string {
	first, last := a.periods[a.bins[bin][0]], a.periods[a.bins[bin][1]-1]
	if first == last {
		return first
	}
	return first + " to " + last
}

// last is the number at the end of a bin.
func (a *axis) last(values []int, bin int) int { return values[a.bins[bin][1]-1] }

// sum is the sum of a bin, 0 if there is no series.
func (a *axis) sum(values []int, bin int) (n int) {
	if values == nil {
		return 0
	}
	for _, v := range values[a.bins[bin][0]:a.bins[bin][1]] {
		n += v
	}
	return n
}

// sums returns the greatest sum of a bin of several series.
func (a *axis) sums(all ...[]int) (most int) {
	for _, values := range all {
		for i := range a.bins {
			most = max(most, a.sum(values, i))
		}
	}
	return most
}

// sizes draws sizes over time as lines, and the area below the last one.
func sizes(title string, periods []string, all ...series) chart {
	most := 0
	var keys []key
	for _, s := range all {
		most = max(most, slices.Max(append([]int{0}, s.values...)))
		keys = append(keys, key{s.class, s.name})
	}
	a := newAxis(periods, 0, most)
	c := a.chart(title, keys...)
	for i, s := range all {
		var b strings.Builder
		for bin := range a.bins {
			command := "L"
			if bin == 0 {
				command = "M"
			}
			b.WriteString(command + coordinate(a.x(bin)+a.width()/2) + " " + coordinate(a.y(a.last(s.values, bin))))
		}
		line := b.String()
		if len(a.bins) == 1 {
			line += "h" + coordinate(a.width()/2)
		}
		if i == len(all)-1 && line != "" {
			area := line + "V" + coordinate(a.y(0)) + "H" + coordinate(a.x(0)+a.width()/2) + "Z"
			c.Lines = append(c.Lines, path{"a-" + s.class, area})
		}
		c.Lines = append(c.Lines, path{"s-" + s.class, line})
	}
	a.hits(&c, func(bin int) string { return numbers(all, func(v []int) int { return a.last(v, bin) }) })
	c.Label = title + ": " + numbers(all, func(v []int) int { return v[len(v)-1] }) + " at the end"
	return c
}

// flow draws what comes above the axis and what goes below it: filled under the new rules,
// as outlines under the old ones if there are any.
func flow(title string, periods []string, fresh, old [2][]int) chart {
	a := newAxis(periods, 0, 0)
	most, least := a.sums(fresh[0], old[0]), a.sums(fresh[1], old[1])
	a = newAxis(periods, -least, most)
	keys := []key{{"up", "entered"}, {"down", "exited"}}
	if old[0] != nil {
		keys = append(keys, key{"old", "old"})
	}
	c := a.chart(title, keys...)
	for bin := range a.bins {
		for i, class := range []string{"b-up", "b-down"} {
			sign := 1 - 2*i
			if fresh[i] != nil {
				a.bar(&c, class, bin, sign*a.sum(fresh[i], bin))
			}
			if old[i] != nil {
				a.bar(&c, "b-old", bin, sign*a.sum(old[i], bin))
			}
		}
	}
	all := []series{{"", "entered", fresh[0]}, {"", "exited", fresh[1]}, {"", "entered under the old rules", old[0]}, {"", "exited under the old rules", old[1]}}
	all = slices.DeleteFunc(all, func(s series) bool { return s.values == nil })
	a.hits(&c, func(bin int) string { return numbers(all, func(v []int) int { return a.sum(v, bin) }) })
	c.Label = title + ": " + numbers(all, total) + " in all"
	return c
}

// counts draws numbers of each period as bars, those of the old rules as outlines.
func counts(title string, periods []string, all ...series) chart {
	a := newAxis(periods, 0, 0)
	most := 0
	var keys []key
	for _, s := range all {
		most = max(most, a.sums(s.values))
		keys = append(keys, key{s.class, s.name})
	}
	a = newAxis(periods, 0, most)
	c := a.chart(title, keys...)
	for bin := range a.bins {
		for _, s := range slices.Backward(all) {
			a.bar(&c, "b-"+s.class, bin, a.sum(s.values, bin))
		}
	}
	a.hits(&c, func(bin int) string { return numbers(all, func(v []int) int { return a.sum(v, bin) }) })
	c.Label = title + ": " + numbers(all, total) + " in all"
	return c
}

// bar draws a bar from the axis to n, which may be below zero.
func (a *axis) bar(c *chart, class string, bin, n int) {
	if n == 0 {
		return
	}
	gap := min(1, a.width()/4)
	from, to := a.y(max(n, 0)), a.y(min(n, 0))
	c.Bars = append(c.Bars, rect{
		Class: class, X: coordinate(a.x(bin) + gap/2), Y: coordinate(from), Width: coordinate(a.width() - gap), Height: coordinate(to - from),
	})
}

func total(l []int) (n int) {
	for _, v := range l {
		n += v
	}
	return n
}

// numbers says one number of each series.
func numbers(all []series, of func([]int) int) string {
	var l []string
	for _, s := range all {
		if len(s.values) > 0 {
			l = append(l, fmt.Sprintf("%s %d", s.name, of(s.values)))
		}
	}
	return strings.Join(l, ", ")
}

// coordinate writes a place to a tenth.
func coordinate(x float64) string { return strconv.FormatFloat(x, 'f', 1, 64) }

// short writes a number in few characters.
func short(n int) string {
	switch {
	case n >= 1_000_000:
		return strconv.FormatFloat(float64(n)/1_000_000, 'g', 3, 64) + "M"
	case n >= 10_000:
		return strconv.FormatFloat(float64(n)/1000, 'g', 3, 64) + "k"
	}
	return strconv.Itoa(n)
}
