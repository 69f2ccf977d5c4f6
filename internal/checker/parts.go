package checker

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/schemas"
)

// A record can be several events, and some of its parts can be refused: each part has a
// fate of its own, and all of them are taken at the turn of the record.

// piece names a part of a record: as is zero for a record that is one event as it came.
type piece struct {
	coordinates
	as schemas.MappedAs
}

func (p piece) String() string {
	if p.as.Stream == "" {
		return p.coordinates.String()
	}
	return p.coordinates.String() + ", number " + strconv.Itoa(p.as.Number) + " as " + p.as.Stream
}

// parts returns the record's parts: its events in order of time, then what is refused.
func (in *input) parts() []*input { return append([]*input{in}, in.rest...) }

// divide takes in what a record is beside the event that it was read as, or beside what is
// wrong with it.
func (j *judgement) divide(in *input, rec *schemas.Record, p int32) {
	more := &rec.More
	for i := range more.Events {
		part := &input{from: in.from, imported: in.imported, offset: in.offset, ev: more.Events[i], result: schemas.IsEvent, at: in.at}
		j.decide(part, rec, p)
		in.rest = append(in.rest, part)
	}
	for n, text := range more.Texts {
		in.parts()[n].as = schemas.MappedAs{Mapping: text.Mapping, Stream: text.Stream, Number: text.Number}
	}
	for range more.Refused {
		in.rest = append(in.rest, &input{from: in.from, offset: in.offset, fate: refused, at: in.at})
	}
}

// decide says what must become of an event on a partition.
func (j *judgement) decide(in *input, rec *schemas.Record, p int32) {
	if j.cfg.Horizon != 0 && rec.Time > j.cfg.Horizon {
		in.ev.Lag = 0
	}
	switch {
	case in.result == schemas.IsEvent && j.cfg.Horizon != 0 && in.ev.At > j.cfg.Horizon:
		in.fate = refused
	case j.route(in.ev.Customer) == p:
		in.fate = folded
	case in.forwarded, in.imported:
		in.fate = refused
	default:
		in.fate = forwarded
	}
}

// judgeCopy judges a record of the repartition topic.
func (j *judgement) judgeCopy(copies map[piece]string, in *input, where string) {
	of := piece{in.from, in.as}
	if before, ok := copies[of]; ok && !j.cfg.AtLeastOnce {
		j.violate("I3", "%s: %v was forwarded already at %s", where, of, before)
	}
	copies[of] = where
}

// judgeLeftOver judges the dead letters and forwarded records that no input asked
// for.
func (j *judgement) judgeLeftOver(copies map[piece]string) {
	for _, p := range slices.Sorted(maps.Keys(j.parts)) {
		for _, l := range j.parts[p].sources {
			for _, record := range l {
				for _, in := range record.parts() {
					if in.fate == forwarded {
						j.takeCopy(copies, piece{in.from, in.as})
					}
				}
			}
		}
	}
	for _, of := range slices.SortedFunc(maps.Keys(copies), piece.compare) {
		j.violate("I3", "%s: nobody had to forward %v", copies[of], of)
	}
	for _, c := range slices.SortedFunc(maps.Keys(j.letters), coordinates.compare) {
		for _, r := range j.letters[c] {
			j.violate("I3", "%s: %v did not have to be refused, or is dead already, or was not read", place(r), c)
		}
	}
}

func (j *judgement) takeCopy(copies map[piece]string, of piece) {
	if _, ok := copies[of]; !ok {
		j.violate("I3", "%v: forwarded, and not on the repartition topic, or not yet read from it", of)
	}
	delete(copies, of)
}

// takeLetter takes away the dead letter of a part that was refused. Without transactions
// there may be more of them than parts, which may all be equal.
func (j *judgement) takeLetter(of coordinates) {
	l := j.letters[of]
	switch {
	case len(l) > 1:
		j.letters[of] = l[1:]
	case len(l) == 1:
		delete(j.letters, of)
	default:
		j.violate("I3", "%v: refused, and there is no dead letter", of)
	}
}

// takeDuplicates takes away what is left of the dead letters of a record whose parts all
// have had theirs, where duplicates are allowed.
func (j *judgement) takeDuplicates(in *input) {
	if l := j.letters[in.from]; j.cfg.AtLeastOnce && len(l) > 0 && slices.ContainsFunc(in.parts(), func(part *input) bool { return part.fate == refused }) {
		j.r.Repeats += len(l)
		delete(j.letters, in.from)
	}
}

// readLetter takes in what a dead letter says of one record. Without transactions a record may
// have had a dead letter of its own the first time, and be one of several the second.
func (j *judgement) readLetter(c coordinates, r *kgo.Record, several bool) {
	j.r.DeadLetters++
	for _, before := range j.letters[c] {
		if _, already, _ := leftOutOf(before); !several && !already && string(before.Value) != string(r.Value) {
			j.violate("I3", "%s: %v has another dead letter at %s", place(r), c, place(before))
		}
	}
	j.letters[c] = append(j.letters[c], r)
}

func (c coordinates) compare(o coordinates) int {
	return cmp.Or(cmp.Compare(c.topic, o.topic), cmp.Compare(c.partition, o.partition), cmp.Compare(c.offset, o.offset))
}

func (p piece) compare(o piece) int {
	return cmp.Or(p.coordinates.compare(o.coordinates), cmp.Compare(p.as.Mapping, o.as.Mapping), cmp.Compare(p.as.Stream, o.as.Stream), cmp.Compare(p.as.Number, o.as.Number))
}
