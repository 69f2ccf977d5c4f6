package changelog

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Without transactions nothing in Kafka keeps a former owner from writing, and
// nothing makes several records one. At-least-once delivery does both within the
// changelog partition, which is one log that everybody reads in the same order:
//
//   - Who acquires a task writes a claim, a random number. Records behind it that
//     were stamped with another claim are void.
//   - A record is stamped with its claim and with its batch: the seq of the
//     position that will end it. Until that position is in the log, the batch
//     is void.
//
// So the position is the commit, as with transactions, and every reader of the
// log agrees on what is void. But compaction does not: to it, a void record is the
// newest of its key and the good one below it is garbage. Therefore the owner
// writes the customers of void records again, as they were, when it acquires the
// task and whenever it sees such a record (see the claims of consumer/ledger), and until then compaction
// has to wait: min.compaction.lag.ms of the changelog.
//
// Outputs have no such filter: a reader of them can see what a void batch emitted, and
// then the same again with the same sequences. The ids are the same too, but for
// late events, whose instant is the clock's.

// Claim is the random number of one acquisition; zero is that of transactions.
type Claim [8]byte

// NewClaim returns a claim that no one has had.
func NewClaim() (c Claim) {
	_, _ = rand.Read(c[:]) // never fails
	return c
}

// String returns the number in hexadecimal.
func (c Claim) String() string { return hex.EncodeToString(c[:]) }

// ClaimKey returns a key for a claim. Each has its own, so that compaction leaves
// them all: behind a claim that was gone, a reader would take what its owner wrote
// for void.
func ClaimKey() []byte { return []byte(claimPrefix + NewClaim().String()) }

// Stamp is what a record of the changelog says of its origin; zero if it is part
// of a transaction.
type Stamp struct {
	Claim Claim
	Seq   uint64
}

// headerStamp holds a stamp: the claim and the seq, big endian.
const headerStamp = "segmill.batch"

// Header returns the header that says so.
func (s Stamp) Header() kgo.RecordHeader {
	return kgo.RecordHeader{Key: headerStamp, Value: binary.BigEndian.AppendUint64(s.Claim[:len(s.Claim):len(s.Claim)], s.Seq)}
}

var errStamp = errors.New("the header " + headerStamp + " is not readable")

// StampOf reads a record's stamp.
func StampOf(r *kgo.Record) (s Stamp, err error) {
	for _, h := range r.Headers {
		if h.Key != headerStamp {
			continue
		}
		if len(h.Value) != 16 {
			return s, errStamp
		}
		copy(s.Claim[:], h.Value)
		s.Seq = binary.BigEndian.Uint64(h.Value[8:])
	}
	return s, nil
}

// DecodeClaim reads a claim record.
func DecodeClaim(r *kgo.Record) (c Claim, err error) {
	if len(r.Value) != len(c) {
		return c, errors.New("a claim is not readable")
	}
	copy(c[:], r.Value)
	return c, nil
}
