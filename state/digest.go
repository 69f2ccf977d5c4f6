package state

import (
	"encoding/binary"
	"encoding/hex"
	"math/bits"

	"github.com/zeebo/xxh3"
)

// Digest stands for a set of customers: the sum modulo 2^128 of a hash of each
// customer's id and bytes. A sum can be kept up to date by subtracting the old
// bytes' hash and adding the new one's; unlike with XOR, the same error made
// twice does not cancel out. The zero Digest is that of no customers.
type Digest struct{ Hi, Lo uint64 }

// digestSeed keys the hash: part of the changelog format.
const digestSeed = 0x7365676d696c6c01

// DigestOf returns the digest of one customer. buf is scratch space, which it
// returns grown.
func DigestOf(customer string, value, buf []byte) (Digest, []byte) {
	buf = append(AppendSubject(buf[:0], customer), value...)
	return DigestOfSubject(buf), buf
}

// AppendSubject appends what the digest of one customer is the hash of, up to the
// customer's bytes, which are to follow.
func AppendSubject(b []byte, customer string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(customer))), customer...)
}

// DigestOfSubject returns the digest of one customer, of what AppendSubject and then
// the customer's bytes are in one place.
func DigestOfSubject(b []byte) Digest {
	h := xxh3.Hash128Seed(b, digestSeed)
	return Digest{h.Hi, h.Lo}
}

// Add returns the digest of d's customers and o's.
func (d Digest) Add(o Digest) Digest {
	lo, carry := bits.Add64(d.Lo, o.Lo, 0)
	hi, _ := bits.Add64(d.Hi, o.Hi, carry)
	return Digest{hi, lo}
}

// Sub returns the digest of d's customers without o's.
func (d Digest) Sub(o Digest) Digest {
	lo, borrow := bits.Sub64(d.Lo, o.Lo, 0)
	hi, _ := bits.Sub64(d.Hi, o.Hi, borrow)
	return Digest{hi, lo}
}

// String returns d in hexadecimal.
func (d Digest) String() string {
	b := binary.BigEndian.AppendUint64(nil, d.Hi)
	return hex.EncodeToString(binary.BigEndian.AppendUint64(b, d.Lo))
}
