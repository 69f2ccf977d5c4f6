package plan

import (
	"math/bits"
	"slices"

	"github.com/zeebo/xxh3"
)

// Key is what customers keep of a segment, a trigger or a summary: a hash of its text, so that
// rules can be renamed, reordered and removed. It is xxh3 with its halves exchanged.
//
// Up to version 4 of the customer format, a key was the lower half of that hash, 32 bits. As
// the upper half of a Key, it sorts what has it in the same order. Where the other half is not
// known, a Key is short, which means that its lower half is 0.
type Key uint64

// KeyOf returns the key of a text. It is never short.
func KeyOf(text string) Key {
	k := Key(bits.RotateLeft64(xxh3.HashString(text), 32))
	if k.Short() {
		k++
	}
	return k
}

// ShortKey returns the key that customers have up to version 4 of their format.
func ShortKey(half uint32) Key { return Key(half) << 32 }

// Short reports whether k is one half of a key.
func (k Key) Short() bool { return uint32(k) == 0 }

// Half returns what versions up to 4 had of k.
func (k Key) Half() uint32 { return uint32(k >> 32) }

// Keys are the keys of what there is of one kind, sorted.
type Keys []Key

// Sorted returns keys in their order, each once. It changes l.
func Sorted(l []Key) Keys {
	slices.Sort(l)
	return slices.Compact(l)
}

// Whole returns the numbers of the keys that k can stand for, from the first one up to the
// one before end: k itself, or those with its half if it is short.
func (l Keys) Whole(k Key) (first, end int) {
	first, ok := slices.BinarySearch(l, k)
	end = first
	if ok {
		return first, first + 1
	}
	for k.Short() && end < len(l) && l[end].Half() == k.Half() {
		end++
	}
	return first, end
}

// RenamedKey is the key under which customers keep how far they have been renamed. Nothing
// else has it.
func RenamedKey() Key { return KeyOf(renamed) }

const renamed = "renamed"

// streamKey is the hash of a stream's name under which customers keep the ids of its events:
// 32 bits are enough for the streams that a rule set can have.
func streamKey(name string) uint32 { return uint32(xxh3.HashString("stream " + name)) }
