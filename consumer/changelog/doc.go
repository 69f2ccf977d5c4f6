// Package changelog is the format of a changelog partition: what its records hold,
// and which of them count. It has no I/O; a record is bytes with headers.
//
// The one rule it keeps: all readers of a partition, at any time, come to the same
// view of which records count.
//
// The keys:
//
//	c/<customer>    the customer's state, null once it is gone
//	versions        Versions, whenever they change
//	position        Position: the last record of each batch
//	claim/<random>  Claim: the owner from here on, without transactions
//	move            Move: the partition is closed by a resharding
//
// In a transaction every committed record counts. Without transactions, Filter says
// which do.
package changelog

import (
	"math"
	"strings"

	"github.com/segmill/segmill/engine"
)

// Keys of records.
const (
	CustomerPrefix = "c/" // and the customer's id
	PositionKey    = "position"
	VersionsKey    = "versions"
	claimPrefix    = "claim/" // and a random number
	moveKey        = "move"
)

// Customer returns the id of the customer that a key names; ok is false if it is
// the key of another kind of record.
func Customer(key string) (id string, ok bool) { return strings.CutPrefix(key, CustomerPrefix) }

// IsClaim reports whether a key is that of a Claim.
func IsClaim(key string) bool { return strings.HasPrefix(key, claimPrefix) }

// IsMove reports whether a key is that of a Move.
func IsMove(key string) bool { return key == moveKey }

// Never is an instant before every other: the clock of a task that has not heard
// anything, and the time of what has none.
const Never engine.Millis = math.MinInt64
