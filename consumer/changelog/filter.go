package changelog

import (
	"fmt"
	"maps"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Filter decides which records of a partition count. It must see them in the order of
// their offsets: all of them, or those that follow a position that counts.
//
// Of stamped records a position makes everything before it good: the first batch of
// an owner writes again what the unfinished batch of its predecessor overwrote.
type Filter struct {
	claim Claim // the one that records must carry, if known
	known bool

	// foreign are keys whose newest record is void because of its claim. open are those
	// of stamped records whose position has not come yet, of the newest batch of each
	// claim: a batch begins when the one before it is complete.
	foreign, open map[string]struct{}
	openStamp     Stamp

	shadowed  bool
	unstamped int
}

// NewFilter returns a Filter for a partition from its first record on.
func NewFilter() *Filter {
	return &Filter{foreign: map[string]struct{}{}, open: map[string]struct{}{}}
}

// FilterAfter returns a Filter for what follows a position.
func FilterAfter(pos *Position) *Filter {
	f := NewFilter()
	f.claim, f.known = pos.Claim, true
	return f
}

// Judge returns who wrote a record, nil if the record is a claim or void. It is an
// error if the record's stamp, or a claim, is not readable.
func (f *Filter) Judge(rec *kgo.Record) (by *Stamp, err error) {
	key := string(rec.Key)
	if IsClaim(key) {
		f.known = true
		f.claim, err = DecodeClaim(rec)
		return nil, err
	}
	s, err := StampOf(rec)
	if err != nil {
		return nil, err
	}
	if f.known && s.Claim != f.claim {
		f.foreign[key] = struct{}{}
		if key == PositionKey {
			f.notePosition(rec.Value)
		}
		return nil, nil
	}
	delete(f.foreign, key)
	return &s, nil
}

// notePosition notes a void position that is not the first: there was a good one
// before it, which compaction must not have removed.
func (f *Filter) notePosition(value []byte) {
	pos, err := DecodePosition(value)
	f.shadowed = f.shadowed || err != nil || pos.Seq > 1
}

// Open takes in a record that counts as soon as its position comes.
func (f *Filter) Open(key string, by Stamp) {
	if by == (Stamp{}) {
		f.unstamped++
		return
	}
	if by.Claim == f.openStamp.Claim && by.Seq > f.openStamp.Seq {
		clear(f.open)
	}
	f.openStamp = by
	f.open[key] = struct{}{}
}

// Close takes in a position that counts: what was open counts too.
func (f *Filter) Close() { clear(f.open) }

// Claim returns the claim that records must carry now.
func (f *Filter) Claim() Claim { return f.claim }

// Void returns the keys whose newest records do not count.
func (f *Filter) Void() map[string]struct{} {
	keys := maps.Clone(f.foreign)
	maps.Copy(keys, f.open)
	return keys
}

// Opened returns the keys of records whose position has not come. It must not be
// changed, and is good until the next record.
func (f *Filter) Opened() map[string]struct{} { return f.open }

// Foreign reports whether there are keys whose newest record has the wrong claim.
func (f *Filter) Foreign() bool { return len(f.foreign) > 0 }

// Shadowed reports whether a void position was read that can't have been the first.
func (f *Filter) Shadowed() bool { return f.shadowed }

// Unstamped returns how many records of transactions were opened, positions aside.
func (f *Filter) Unstamped() int { return f.unstamped }

// Counting returns the records of a partition that count, of all that it has, in the
// order of their offsets, positions included. It is an error if one is not readable.
func Counting(records []*kgo.Record) ([]*kgo.Record, error) {
	f := NewFilter()
	var count, batch []*kgo.Record
	for _, rec := range records {
		by, err := f.Judge(rec)
		if err != nil {
			return nil, fmt.Errorf("changelog offset %d: %w", rec.Offset, err)
		}
		if by == nil {
			continue
		}
		if batch = append(batch, rec); string(rec.Key) == PositionKey {
			count, batch = append(count, batch...), batch[:0]
		}
	}
	return count, nil
}
