package state

import "encoding/binary"

// Keys. Every key begins with its task, so that a task is one range:
//
//	+-----------+-----+
//	| task (4)  | 'c' | customer                 the customer's bytes
//	| task (4)  | 't' | due (8) | customer       nothing: the due index
//	| task (4)  | 'm' |                          Meta, without Versions
//	| task (4)  | 'v' |                          Meta.Versions
//	+-----------+-----+
//
// Integers are big-endian; due has its sign bit flipped, so that byte order is
// time order. A customer id may hold any byte and ends with the key; parts of a
// customer, should there be any, get a kind of their own.
const (
	kindCustomer = 'c'
	kindDue      = 't'
	kindMeta     = 'm'
	kindVersions = 'v'
)

// scratchBit marks the prefix of a task's scratch space.
const scratchBit = 1 << 31

const prefixLen = 5

func (t *Task) key(kind byte) []byte {
	k := binary.BigEndian.AppendUint32(t.buf[:0], t.id)
	t.buf = append(k, kind)
	return t.buf
}

func (t *Task) customerKey(id string) []byte {
	t.buf = append(t.key(kindCustomer), id...)
	return t.buf
}

func (t *Task) dueKey(due Millis, id string) []byte {
	k := binary.BigEndian.AppendUint64(t.key(kindDue), uint64(due)^1<<63)
	t.buf = append(k, id...)
	return t.buf
}

// bounds returns the range of the keys of one kind.
func (t *Task) bounds(kind byte) (lower, upper []byte) {
	lower = append([]byte(nil), t.key(kind)...)
	upper = append([]byte(nil), t.key(kind+1)...)
	return lower, upper
}

// parseDue splits a key of the due index.
func parseDue(k []byte) (due Millis, id string, ok bool) {
	if len(k) < prefixLen+8 {
		return 0, "", false
	}
	return Millis(binary.BigEndian.Uint64(k[prefixLen:]) ^ 1<<63), string(k[prefixLen+8:]), true
}
