package checker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/schemas"
)

// coordinates are where a record came in.
type coordinates struct {
	topic     string
	partition int32
	offset    int64
}

func (c coordinates) String() string { return fmt.Sprintf("%s/%d@%d", c.topic, c.partition, c.offset) }

// input is a record of a source, read.
type input struct {
	from      coordinates // of a forwarded record: where it came in
	forwarded bool
	imported  bool // it is from the topic of history, where it is named by its own place
	offset    int64
	ev        engine.Event
	result    schemas.Result
	fate      fate
	as        schemas.MappedAs // of a part of a record that was mapped, or is a batch
	rest      []*input         // the record's other parts
	// at is what the order of records goes by.
	at engine.Millis
}

// fate is what must become of a record.
type fate uint8

const (
	folded fate = iota
	forwarded
	refused
	skipped
)

// letterOf reads the coordinates of a dead letter. The record's own headers stand
// before those of the engine.
func letterOf(r *kgo.Record) (c coordinates, cause string, err error) {
	for _, h := range r.Headers {
		var n int64
		switch h.Key {
		case "dlq.cause":
			cause = string(h.Value)
		case "dlq.topic":
			c.topic = string(h.Value)
		case "dlq.partition":
			n, err = strconv.ParseInt(string(h.Value), 10, 32)
			c.partition = int32(n)
		case "dlq.offset":
			c.offset, err = strconv.ParseInt(string(h.Value), 10, 64)
		}
	}
	if c.topic == "" || cause == "" {
		err = errors.New("no coordinates or no cause")
	}
	return c, cause, err
}

// readLetters reads the dead letters: each is about another record.
func (j *judgement) readLetters(context.Context) error {
	j.letters = map[coordinates][]*kgo.Record{}
	for _, p := range slices.Sorted(maps.Keys(j.parts)) {
		for _, r := range j.h.Topics[j.cfg.deadLetters()][p] {
			c, _, err := letterOf(r)
			if err != nil {
				j.violate("I3", "%s: %v", place(r), err)
				continue
			}
			offsets, several, err := leftOutOf(r)
			if err != nil {
				j.violate("I3", "%s: %v", place(r), err)
				continue
			}
			if !several {
				offsets = []int64{c.offset}
			}
			for _, c.offset = range offsets {
				j.readLetter(c, r, several)
			}
		}
	}
	return nil
}

// leftOutOf reads the offsets of the records that a dead letter stands for, if it stands
// for several that have none of their own.
func leftOutOf(r *kgo.Record) (offsets []int64, several bool, err error) {
	n := 0
	for _, h := range r.Headers {
		if h.Key == "dlq.left_out" && len(r.Key) == 0 {
			several = true
			n, err = strconv.Atoi(string(h.Value))
		}
	}
	if !several || err != nil {
		return nil, several, err
	}
	for piece := range strings.SplitSeq(string(r.Value), ",") {
		from, to, isRange := strings.Cut(piece, "-")
		if !isRange {
			to = from
		}
		first, err1 := strconv.ParseInt(from, 10, 64)
		last, err2 := strconv.ParseInt(to, 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			return nil, true, err
		}
		if last < first || last-first >= int64(n) {
			return nil, true, fmt.Errorf("the range %s of %d records", piece, n)
		}
		for ; first <= last; first++ {
			offsets = append(offsets, first)
		}
	}
	if len(offsets) != n {
		return nil, true, fmt.Errorf("it stands for %d records and names %d", n, len(offsets))
	}
	return offsets, true, nil
}

// source is a partition of an input.
type source struct {
	topic  string
	number int32
}

func (s source) compare(o source) int {
	return cmp.Or(cmp.Compare(s.topic, o.topic), cmp.Compare(s.number, o.number))
}

func (s source) String() string { return fmt.Sprintf("%s/%d", s.topic, s.number) }

// inputsOf returns what a task has to read: of every input each partition whose number is
// the task's modulo the number of tasks, its own partition of the topic of history, and last
// that of the repartition topic.
func (j *judgement) inputsOf(task int32) (l []source) {
	for _, topic := range slices.Sorted(slices.Values(j.cfg.Inputs)) {
		for p := range int32(len(j.h.Ends[topic])) {
			if p%j.h.Partitions == task {
				l = append(l, source{topic: topic, number: p})
			}
		}
	}
	if j.cfg.Imported {
		l = append(l, source{topic: j.cfg.history(), number: task})
		slices.SortFunc(l, source.compare)
	}
	return append(l, source{topic: j.cfg.repartition(), number: task})
}

// judgeInputs is I3 and I9: it reads the inputs, says what had to become of every
// record, and compares.
func (j *judgement) judgeInputs(context.Context) error {
	copies := map[piece]string{}
	customers := map[string]bool{}
	for _, p := range slices.Sorted(maps.Keys(j.parts)) {
		part := j.parts[p]
		if part.last == nil {
			part.last = &changelog.Position{}
		}
		var n [skipped + 1]uint64
		for _, of := range j.inputsOf(p) {
			at := part.last.Sources[changelog.InputOf(of.topic, of.number, p)]
			next, unread := at.Next, 0
			records := j.h.Topics[of.topic][of.number]
			if of.topic == j.cfg.history() {
				records = slices.DeleteFunc(slices.Clone(records), isMark)
				if _, reads := part.last.Sources[changelog.Input{Topic: of.topic}]; !reads {
					next = math.MaxInt64 // a position that does not name it says that it was read
				}
			}
			for _, r := range records {
				if r.Offset < at.First {
					continue // the input is read from there on
				}
				in, err := j.read(r, p)
				if err != nil {
					return err
				}
				if j.cfg.Until != 0 && in.result == schemas.IsEvent && in.ev.At > j.cfg.Until {
					break // the reading ends here, whatever else is wrong with the record
				}
				if r.Offset >= next {
					unread++
					continue
				}
				if in.forwarded {
					j.judgeCopy(copies, in, place(r))
				}
				part.sources[of] = append(part.sources[of], in)
				for _, part := range in.parts() {
					n[part.fate]++
					j.tally(part, customers)
				}
				j.takeDuplicates(in)
			}
			if unread > 0 {
				j.violate("I9", "%v: %d records are not read, from offset %d on", of, unread, next)
			}
		}
		for _, c := range []struct {
			what      string
			got, want uint64
		}{
			{"folded", part.last.Folded, n[folded]},
			{"forwarded", part.last.Forwarded, n[forwarded]},
			{"refused", part.last.DeadLetters, n[refused]},
		} {
			if c.got != c.want {
				j.violate("I3", "partition %d: %d records %s by the last position (%d), %d by the inputs", p, c.got, c.what, part.last.Seq, c.want)
			}
		}
	}
	j.r.Customers = len(customers)
	j.judgeLeftOver(copies)
	return nil
}

// tally counts a record, and takes the dead letter of a refused one away.
func (j *judgement) tally(in *input, customers map[string]bool) {
	switch in.fate {
	case refused:
		j.r.Bad++
		j.takeLetter(in.from)
		return
	case forwarded:
		j.r.Forwarded++
		return
	case skipped:
		return
	default: // the others need nothing here
	}
	customers[in.ev.Customer] = true
	if in.result == schemas.IsTombstone {
		j.r.Erasures++
	} else {
		j.r.Events++
	}
}

// read says what a record is and what must become of it on its partition.
func (j *judgement) read(r *kgo.Record, p int32) (*input, error) {
	in := &input{from: coordinates{r.Topic, r.Partition, r.Offset}, offset: r.Offset, fate: refused}
	rec := schemas.Record{Topic: r.Topic, Key: r.Key, Value: r.Value, Time: engine.Millis(r.Timestamp.UnixMilli()), Partition: r.Partition, Offset: r.Offset}
	for _, h := range r.Headers {
		rec.Headers = append(rec.Headers, schemas.Header(h))
	}
	switch r.Topic {
	case j.cfg.repartition():
		if !in.cameFrom(r, &rec) {
			return in, nil
		}
		in.forwarded = true
	case j.cfg.history():
		if !in.cameFrom(r, &rec) || !slices.Contains(j.cfg.Inputs, rec.Topic) || len(r.Value) == 0 {
			in.from = coordinates{r.Topic, r.Partition, r.Offset}
			return in, nil
		}
		in.from, in.imported = coordinates{r.Topic, r.Partition, r.Offset}, true
	}
	var err error
	in.result, err = j.cfg.Read(&rec, &in.ev)
	var bad *schemas.BadInput
	if errors.As(err, &bad) {
		j.divide(in, &rec, p)
		return in, nil
	}
	if err != nil {
		return nil, fmt.Errorf("checker: %s: %w", place(r), err)
	}
	if in.result == schemas.IsSkipped {
		in.fate = skipped
		return in, nil
	}
	if in.at = in.ev.At; j.cfg.Clock == config.WallClock {
		in.at = min(in.at, rec.Time)
	}
	j.decide(in, &rec, p)
	j.divide(in, &rec, p)
	return in, nil
}

// isMark reports whether a record of the topic of history says that an import is complete: it
// has the header of the import, and none of an origin.
func isMark(r *kgo.Record) bool {
	return len(r.Headers) == 1 && r.Headers[0].Key == "segmill.import" && string(r.Key) == "import"
}

// cameFrom reads the headers of a forwarded record. It returns false if there are
// none.
func (in *input) cameFrom(r *kgo.Record, rec *schemas.Record) bool {
	found := 0
	for _, h := range r.Headers {
		n, err := strconv.ParseInt(string(h.Value), 10, 64)
		switch h.Key {
		case "segmill.topic":
			rec.Topic, in.from.topic, err = string(h.Value), string(h.Value), nil
		case "segmill.partition":
			in.from.partition = int32(n)
		case "segmill.offset":
			in.from.offset = n
		case "segmill.time":
			rec.Time = engine.Millis(n)
		case "segmill.mapping":
			in.as.Mapping = string(h.Value)
			continue
		case "segmill.stream":
			in.as.Stream = string(h.Value)
			continue
		case "segmill.number":
			in.as.Number = int(n)
			continue
		default:
			continue
		}
		if err != nil {
			return false
		}
		found++
	}
	rec.Partition, rec.Offset = in.from.partition, in.from.offset
	if in.as.Stream != "" {
		rec.Mapped = &in.as
	}
	return found == 4
}
