package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/changelog"
)

// Transactions is a Ledger that writes each batch in a Kafka transaction (KIP-98).
type Transactions struct{ producer }

// NewTransactions keeps former owners out by initialising a transactional id, and that
// right away and not with the first record. Brokers abort a transaction after
// timeout. It waits until what a former owner left open is decided, or ctx ends.
func NewTransactions(ctx context.Context, id string, timeout time.Duration, o Options) (*Transactions, error) {
	p, err := newProducer(o, kgo.TransactionalID(id), kgo.TransactionTimeout(timeout))
	if err != nil {
		return nil, err
	}
	if _, _, err := p.cl.ProducerID(ctx); err != nil {
		p.cl.Close()
		return nil, fmt.Errorf("transactional id %s: %w", id, err)
	}
	return &Transactions{p}, nil
}

// Claim is zero: in transactions records carry none.
func (*Transactions) Claim() changelog.Claim { return changelog.Claim{} }

// Begin is 0: the changelog's high watermark is behind everything that former owners
// have written.
func (*Transactions) Begin() int64 { return 0 }

// Commit writes the records in one transaction.
func (t *Transactions) Commit(ctx context.Context, records []*kgo.Record) (int64, error) {
	if err := t.cl.BeginTransaction(); err != nil {
		return 0, fmt.Errorf("begin transaction: %w", err)
	}
	if err := t.at("begun"); err != nil {
		return 0, err
	}
	if err := t.produce(ctx, records); err != nil {
		return 0, err
	}
	if err := t.at("produced"); err != nil {
		return 0, err
	}
	if err := t.cl.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return 0, fmt.Errorf("end transaction: %w", err)
	}
	return records[len(records)-1].Offset, nil
}

// Alive returns nil: an owner that has lost the partition learns so at its next commit.
func (*Transactions) Alive() error { return nil }

// TakeVoid adds nothing: what is not committed is invisible.
func (*Transactions) TakeVoid(map[string]struct{}) {}

// Close leaves what is open to be aborted by the next owner.
func (t *Transactions) Close() { t.cl.Close() }
