package consumer

import (
	"errors"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Limits of decompressed batches, in bytes: of one batch, and of all that are
// fetched and not yet polled. One answer of a broker can hold hundreds of batches
// that are large only once they are decompressed.
const (
	maxBatch = 16 << 20
	maxAhead = 16 << 20
)

// errAhead says that a batch has to wait until others are polled. The client
// delivers what stands before the batch and fetches it again.
var errAhead = errors.New("enough is decompressed")

// decompressor is the client's own decompressor with a limit over several
// batches.
type decompressor struct {
	inner kgo.Decompressor // refuses batches larger than maxBatch
	ahead atomic.Int64     // bytes since the last poll
}

func newDecompressor() (*decompressor, error) {
	// Only a client makes a decompressor that has a limit.
	cl, err := kgo.NewClient(kgo.SeedBrokers("localhost"), kgo.MaxDecompressBatchBytes(maxBatch))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	inner, ok := cl.OptValue(kgo.WithDecompressor).(kgo.Decompressor)
	if !ok {
		return nil, errors.New("the client has no decompressor")
	}
	return &decompressor{inner: inner}, nil
}

// Decompress decompresses a batch.
func (d *decompressor) Decompress(b []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	if d.ahead.Load() > maxAhead {
		return nil, errAhead
	}
	b, err := d.inner.Decompress(b, codec)
	d.ahead.Add(int64(len(b)))
	return b, err
}

// polled begins to count anew.
func (d *decompressor) polled() { d.ahead.Store(0) }
