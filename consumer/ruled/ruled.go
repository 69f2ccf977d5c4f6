// Package ruled says which rules each partition of an application is under, from the
// positions in its changelog.
//
// The one rule it keeps: it reads committed records and nothing else. Nobody is asked, fenced
// or disturbed, so the answer is the same whoever runs the partitions, or nobody.
package ruled

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/replica"
	"github.com/segmill/segmill/engine"
)

// Partition is what a partition is under.
type Partition struct {
	Number int32
	// Empty: it has no position, and so no customers. It begins with the rules in force.
	Empty bool
	// Versions are those of its rules (changelog.HashVersions).
	Versions [16]byte
	// Changing: not all of its customers have been judged by them yet.
	Changing bool
	// Now are the versions of its rules by id while Changing, and Former those of the rules
	// that other customers may still be under. Nil if Changing is false, or if that is not
	// found near the end of the changelog.
	Now, Former map[string]string
	// Clock is its task clock.
	Clock engine.Millis
	// Sources are how far it has read its inputs. They must not be changed.
	Sources map[changelog.Input]changelog.Source
}

// Is reports whether all customers of the partition have been judged by rules of these
// versions.
func (p *Partition) Is(versions [16]byte) bool {
	return p.Empty || p.Versions == versions && !p.Changing
}

// Reader reads the positions of a changelog, and remembers how far.
type Reader struct {
	Cluster *broker.Cluster
	Topic   string

	parts []seen
}

// seen is what was read of one partition.
type seen struct {
	next     int64
	last     *changelog.Position
	versions *changelog.Versions // the last that was seen, nil if none was
}

// whole reports whether all was seen that is said of the partition.
func (s *seen) whole() bool { return s.last != nil && (!s.last.Rebuilding || s.versions != nil) }

// firstLook is how many records before the end the last position is looked for at first; it
// is the last record of its transaction.
const firstLook = 1_000

// Partitions returns all partitions as of now, none if there is no changelog.
func (r *Reader) Partitions(ctx context.Context) ([]Partition, error) {
	ctx, cancel := context.WithTimeout(ctx, broker.RequestTimeout)
	defer cancel()
	infos, err := r.Cluster.Describe(ctx, r.Topic)
	if err != nil {
		return nil, err
	}
	info := infos[r.Topic]
	if errors.Is(info.Err, kerr.UnknownTopicOrPartition) {
		return nil, nil
	}
	if info.Err != nil {
		return nil, fmt.Errorf("%s: %w", r.Topic, info.Err)
	}
	var all []int32
	for n := range info.Partitions {
		all = append(all, n)
	}
	first, err := r.Cluster.List(ctx, broker.Start, []string{r.Topic}, all)
	if err != nil {
		return nil, err
	}
	end, err := r.Cluster.List(ctx, broker.LastStable, []string{r.Topic}, all)
	if err != nil {
		return nil, err
	}
	for len(r.parts) < len(all) {
		r.parts = append(r.parts, seen{})
	}
	l := make([]Partition, len(all))
	for _, n := range all {
		if err := r.read(ctx, n, first[r.Topic][n].Offset, end[r.Topic][n].Offset); err != nil {
			return nil, fmt.Errorf("%s, partition %d: %w", r.Topic, n, err)
		}
		l[n] = r.parts[n].as(n)
	}
	return l, nil
}

// as returns what is known of a partition.
func (s *seen) as(n int32) Partition {
	if s.last == nil {
		return Partition{Number: n, Empty: true, Clock: changelog.Never}
	}
	p := Partition{Number: n, Versions: s.last.Rules, Changing: s.last.Rebuilding, Clock: s.last.Clock, Sources: s.last.Sources}
	if p.Changing && s.versions != nil && changelog.HashVersions(s.versions.Hashes) == p.Versions {
		p.Now, p.Former = s.versions.Hashes, s.versions.Former
	}
	return p
}

// read finds the last position of a partition between two offsets.
func (r *Reader) read(ctx context.Context, n int32, first, end int64) error {
	s := &r.parts[n]
	if s.last != nil {
		return r.look(ctx, n, max(first, s.next), end)
	}
	for look := int64(firstLook); ; look *= 10 {
		from := max(first, end-min(look, replica.LookBack))
		if err := r.look(ctx, n, from, end); err != nil {
			return err
		}
		if s.whole() || from == first || look >= replica.LookBack {
			return nil
		}
	}
}

// look takes the last position and versions between two offsets, if there are any.
func (r *Reader) look(ctx context.Context, n int32, from, to int64) error {
	s := &r.parts[n]
	var last, versions []byte
	_, err := r.Cluster.ReadRange(ctx, r.Topic, n, from, to, func(rec *kgo.Record) error {
		switch string(rec.Key) {
		case changelog.PositionKey:
			last = rec.Value
		case changelog.VersionsKey:
			versions = rec.Value
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.next = max(s.next, to)
	if versions != nil {
		if s.versions, err = changelog.DecodeVersions(versions); err != nil {
			return err
		}
	}
	if last != nil {
		s.last, err = changelog.DecodePosition(last)
	}
	return err
}
