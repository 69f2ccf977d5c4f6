package broker

import (
	"errors"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Limits of decompressed batches, in bytes: of one batch, and of all that are
// fetched and not yet Polled. One answer of a broker can hold hundreds of batches
// that are large only once they are decompressed.
const (
	MaxBatch = 16 << 20
	MaxAhead = 16 << 20
)

// ErrAhead says that a batch has to wait until others are Polled. The client
// delivers what precedes the batch and fetches it again.
var ErrAhead = errors.New("enough is decompressed")

// Decompressor is the client's own decompressor with a limit over several
// batches.
type Decompressor struct {
	Inner kgo.Decompressor // refuses batches larger than MaxBatch
	ahead atomic.Int64     // bytes since the last poll
}

// NewDecompressor returns one for one client.
func NewDecompressor() (*Decompressor, error) {
	// Only a client makes a decompressor that has a limit.
	cl, err := kgo.NewClient(kgo.SeedBrokers("localhost"), kgo.MaxDecompressBatchBytes(MaxBatch))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	inner, ok := cl.OptValue(kgo.WithDecompressor).(kgo.Decompressor)
	if !ok {
		return nil, errors.New("the client has no decompressor")
	}
	return &Decompressor{Inner: inner}, nil
}

// Decompress decompresses a batch.
func (d *Decompressor) Decompress(b []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	if d.ahead.Load() > MaxAhead {
		return nil, ErrAhead
	}
	b, err := d.Inner.Decompress(b, codec)
	d.ahead.Add(int64(len(b)))
	return b, err
}

// Polled resets the count.
func (d *Decompressor) Polled() { d.ahead.Store(0) }
