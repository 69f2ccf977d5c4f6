package broker

import (
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// RecordPool keeps the memory of fetched records, of a batch each, for the next
// batches. A record is given back when it has been taken (kgo.Record.Recycle), its
// key, value and headers stay; a batch of which one is not given back goes to the
// garbage collector.
type RecordPool struct {
	Most int // records that are kept: usually as many as are queued and fetched at once

	mu   sync.Mutex
	free [][]kgo.Record
	kept int // records in free
}

// GetRecords returns memory for n records, or nil if none is kept.
func (p *RecordPool) GetRecords(n int) []kgo.Record {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, l := range p.free {
		if cap(l) >= n {
			last := len(p.free) - 1
			p.free[i], p.free[last] = p.free[last], nil
			p.free = p.free[:last]
			p.kept -= cap(l)
			return l[:0]
		}
	}
	return nil
}

// PutRecords takes back the memory of a batch, if there is room.
func (p *RecordPool) PutRecords(l []kgo.Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.kept+cap(l) <= p.Most {
		p.free = append(p.free, l)
		p.kept += cap(l)
	}
}
