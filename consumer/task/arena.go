package task

// arena is memory for what a transaction writes, which is used again for the next
// one: pieces are made by the ten thousand and all end with their transaction. It
// grows by chunks, so that nothing moves when it grows.
type arena[T any] struct {
	chunk  int // elements of a chunk; a piece may have more
	chunks [][]T
	n      int // of the chunk that is filled
	used   int // of it
}

// room returns an empty slice to append a piece to, which then goes to keep. least is
// how much room to look for: a piece that turns out larger moves by itself.
func (a *arena[T]) room(least int) []T {
	if a.n < len(a.chunks) && a.chunk-a.used < least {
		a.n, a.used = a.n+1, 0
	}
	if a.n == len(a.chunks) {
		a.chunks = append(a.chunks, make([]T, a.chunk))
	}
	return a.chunks[a.n][a.used:a.used]
}

// keep keeps the piece that was appended to the last room, and returns it. Until then
// the room can be taken again.
func (a *arena[T]) keep(piece []T) []T {
	a.used = min(a.used+len(piece), a.chunk)
	return piece[:len(piece):len(piece)]
}

// reset ends all pieces.
func (a *arena[T]) reset() { a.n, a.used = 0, 0 }
