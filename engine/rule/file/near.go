package file

import (
	"slices"
	"strconv"
	"strings"
)

// Near returns the name that word was most likely meant to be, or "": the one
// with the fewest mistakes, else one that it goes on from.
func Near(word string, names []string) string {
	if len(word) > 64 {
		return ""
	}
	best := Misspelt(word, names)
	for _, n := range names {
		if best == "" && len(n) >= 3 && (strings.HasPrefix(word, n) || strings.HasPrefix(n, word) && len(word) >= 3) {
			best = n
		}
	}
	return best
}

// Misspelt returns the name that word is with the fewest mistakes, one for every three
// letters at most; "" if there is none.
func Misspelt(word string, names []string) string {
	best, least := "", max(1, len(word)/3)+1
	for _, n := range names {
		if strings.EqualFold(n, word) {
			return n
		}
		if len(n)-len(word) >= least || len(word)-len(n) >= least {
			continue
		}
		if d := distance(word, n); d < least {
			best, least = n, d
		}
	}
	return best
}

// Meant is the hint that names the nearest of names, "" if none is near.
func Meant(word string, names []string) string {
	if n := Near(word, names); n != "" {
		return "did you mean " + strconv.Quote(n) + "?"
	}
	return ""
}

// DidYouMean is the hint that names the nearest of names, else what there is.
func DidYouMean(word string, names []string) string {
	if hint := Meant(word, names); hint != "" {
		return hint
	}
	return OneOf(names)
}

// OneOf lists names, as many as fit a line.
func OneOf(names []string) string {
	const most = 8
	switch {
	case len(names) == 0:
		return ""
	case len(names) > most:
		return "one of: " + strings.Join(names[:most], ", ") + ", …"
	}
	return "one of: " + strings.Join(names, ", ")
}

// distance is the number of letters to insert, delete, replace or swap with
// their neighbour to turn a into b.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	before, prev, row := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev, row = prev, row, before
	}
	return prev[len(y)]
}

// Sorted returns names in order, and leaves them as they are.
func Sorted(names []string) []string {
	return slices.Sorted(slices.Values(names))
}
