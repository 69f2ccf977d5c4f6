package aggregate

import "bytes"

// Same reports whether two summaries of one family are equal as far back as both reach,
// and no window of length reach looks further at now. Both are pruned to that.
func Same(a, b Cell, now, reach Millis) bool {
	from := max(now-reach, fromOf(a), fromOf(b))
	a.Prune(now, now-from)
	b.Prune(now, now-from)
	return bytes.Equal(a.Append(nil, now), b.Append(nil, now))
}

// fromOf returns since when a summary is complete, None if it always was.
func fromOf(c Cell) Millis {
	switch c := c.(type) {
	case *List:
		return c.From
	case *Distinct:
		return c.From
	}
	return None
}
