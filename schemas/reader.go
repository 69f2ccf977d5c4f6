package schemas

import (
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas/avro"
	"github.com/segmill/segmill/schemas/bad"
	"github.com/segmill/segmill/schemas/frame"
	"github.com/segmill/segmill/schemas/jsonread"
	"github.com/segmill/segmill/schemas/mapping"
	"github.com/segmill/segmill/schemas/registry"
)

// Header is a header of a Kafka record.
type Header struct {
	Key   string
	Value []byte
}

// Record is a Kafka record as far as a Reader needs it.
type Record struct {
	Topic      string
	Key, Value []byte
	Headers    []Header
	Partition  int32
	Offset     int64
	Time       expr.Millis // the record's timestamp
	// Mapped is given of a record that another task has made of one of an input with
	// mappings: its value is the event.
	Mapped *MappedAs
	// More is set by Read to what else the record is.
	More More
	// Forwarded: whoever forwarded the record has read it before, and told what there is to
	// note of it.
	Forwarded bool
	// Came is when the record was fetched, by the clock of the Config; zero if that is
	// not known. What a registry said of a schema before says nothing of a later record.
	Came time.Time
}

// MappedAs says what the value of a record that was mapped is.
type MappedAs struct {
	Mapping, Stream string // names
	Number          int
}

// Result says what a record is.
type Result uint8

// The results.
const (
	IsEvent     Result = iota + 1 // an event
	IsTombstone                   // the erasure of Event.Customer, as of Event.At
	IsSkipped                     // no event, and nothing is wrong with it
)

// Config is what a Reader needs to know.
type Config struct {
	// Catalog has the streams of the rule set, and the fields that it declares; nil is
	// [Catalog].
	Catalog *plan.Catalog
	// Layouts gives the fields of each stream that rules read. Required.
	Layouts func(plan.Stream) *plan.Layout
	// Topics are the input topics with the stream that each carries.
	Topics map[string]plan.Stream
	// Settings are how the records of a topic are read; [DefaultSettings] of those that are not
	// in it.
	Settings map[string]*Settings
	// Mappings are those of the topics that have some, which need not be in Topics.
	Mappings map[string][]*plan.Mapping
	// NotRead are inputs that the rules leave out. Records of them come where one was forwarded
	// before, and are skipped.
	NotRead []string
	// Locations finds time zones by name; nil: there is UTC alone.
	Locations expr.Zones
	// Reading is what the rules say of reading.
	Reading plan.Reading
	// Noted is told of each note about a record that was read, in whatever goroutine
	// reads it; nil: nobody looks. In place of the topic a line has its stream, "" if it
	// is no event.
	Noted func(topic string, n *Note)
	// Registry resolves the schema ids in records; nil if there is none, then
	// records that name one are bad input.
	Registry registry.Source
	// Now is the clock by which refusals of a registry expire. Without one they do not.
	Now func() time.Time
	// Go runs a look-up in the registry, so that Read need not wait for it; it is
	// required with Now, and the other way round. nil: Read waits.
	Go func(lookup func())
	// Subjects are those that a schema must be registered under, if the registry
	// can tell. Empty means "<topic>-value" of each topic; name others here if
	// producers use another naming strategy.
	Subjects []string
	// Zones reports whether a name is an IANA time zone. nil accepts every name.
	Zones func(name string) bool
	// MaxBytes is the longest value that is read. 0 means 1 MiB.
	MaxBytes int
	// MaxID is the longest id of a customer, event or source in bytes. 0 means
	// 1024.
	MaxID int
}

// Reader makes events of records. It is safe for use by several goroutines.
//
// Whether a record is an event does not depend on the rules. An event needs a customer, a
// time and an id; any other field that cannot be read is absent, and noted if a rule
// reads it, or if the input is strict.
type Reader struct {
	cfg     Config
	topics  []topic // those of cfg; there are a few, and every record looks its own up
	lines   topic
	targets [numWays][]*frame.Target // by stream
	own     map[uint64]*avro.Writer  // our schemas by fingerprint
	lookups *registry.Lookups[*avro.Writer]
	decoder sync.Pool // of *decoder
}

// NewReader returns a Reader. It is an error if a layout names a field that the
// schemas do not have.
func NewReader(cfg Config) (*Reader, error) {
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 1 << 20
	}
	if cfg.MaxID == 0 {
		cfg.MaxID = 1024
	}
	if cfg.Catalog == nil {
		cfg.Catalog = Catalog()
	}
	if len(cfg.Subjects) == 0 {
		for topic := range cfg.Topics {
			cfg.Subjects = append(cfg.Subjects, Subject(topic))
		}
	}
	if (cfg.Now == nil) != (cfg.Go == nil) {
		return nil, errors.New("schemas: a Reader needs both a clock and a way to run look-ups, or none of them")
	}
	r := &Reader{cfg: cfg, own: ownWriters(cfg.targets()), lookups: lookupsOf(&cfg), lines: topic{settings: settingsOf(&cfg, "")}}
	for name, stream := range cfg.Topics {
		r.topics = append(r.topics, topic{name: name, stream: stream, settings: settingsOf(&cfg, name)})
	}
	for name := range cfg.Mappings {
		l, err := mappedOf(&cfg, name)
		if err != nil {
			return nil, err
		}
		r.topics = append(r.topics, topic{name: name, settings: settingsOf(&cfg, name), mappings: l})
	}
	for _, name := range cfg.NotRead {
		r.topics = append(r.topics, topic{name: name, notRead: true})
	}
	for i := range r.topics {
		for j := range r.topics[i].mappings {
			r.topics[i].mappings[j].in = &r.topics[i]
		}
	}
	for way := range numWays {
		for s := range cfg.Catalog.Table().All() {
			t, err := r.newTarget(s, cfg.Layouts(s), way)
			if err != nil {
				return nil, err
			}
			if t.Money != nil && cfg.Reading.Currency != "" {
				t.Money.Default = t.Constant(expr.StringValue(cfg.Reading.Currency))
			}
			r.targets[way] = append(r.targets[way], t)
		}
	}
	for s, t := range r.targets[byRules] {
		if t.Signs != nil && r.targets[forWorth][s].Derives {
			t.Careful = r.targets[forWorth][s]
		}
	}
	return r, nil
}

// targets is how many targets a reader has.
func (cfg *Config) targets() int { return numWays * cfg.Catalog.Table().Len() }

// lookupsOf returns the look-ups of a Reader.
func lookupsOf(cfg *Config) *registry.Lookups[*avro.Writer] {
	return registry.NewLookups(registry.Config[*avro.Writer]{
		Registry: cfg.Registry, Subjects: cfg.Subjects, Now: cfg.Now, Go: cfg.Go,
		Accept: func(text string) (*avro.Writer, error) {
			s, err := avro.Gate(text)
			if err != nil {
				return nil, err
			}
			return avro.NewWriter(s, cfg.targets()), nil
		},
	})
}

// decoder is the memory that reading one record needs.
type decoder struct {
	*Reader
	frame frame.Frame
	avro  avro.Reader
	json  jsonread.Decoder
	last  []lastProgram // by the number of the target
	key   []byte        // of the record

	runner *mapping.Runner // nil: no input has mappings
	told   []bad.Note
	asText []byte // of an Avro record
	noted  bool   // what there is to say of the record was told before
}

// lastProgram is the program that the last record of a stream was read with: most
// have the schema of the one before.
type lastProgram struct {
	id uint32
	op *avro.Op // nil: none yet
}

// Read makes an event of a record. ev is overwritten, its Fields and the lists in
// them reused; nothing of ev refers to the record's memory. On error ev is undefined, and the error is
// a *BadInput, or a *[Waiting] if the record should be read again a little later. Of a
// skipped record only the time is set in ev, to that of the record.
func (r *Reader) Read(rec *Record, ev *engine.Event) (Result, error) {
	in := r.topic(rec.Topic)
	if in == nil {
		return 0, bad.New(bad.Format, "", "topic %q is not an input", rec.Topic)
	}
	if in.notRead {
		return skip(rec, ev)
	}
	if len(rec.Value) > r.cfg.MaxBytes {
		return 0, bad.New(bad.Size, "", "%d bytes long, more than %d", len(rec.Value), r.cfg.MaxBytes)
	}
	rec.More = More{}
	d := r.take(rec.Key, in)
	defer r.give(d)
	d.noted = rec.Forwarded
	if rec.Mapped != nil {
		return d.forwarded(in, rec, ev)
	}
	if in.mappings != nil {
		return d.mapped(in, rec, ev)
	}
	if len(rec.Value) == 0 {
		return d.tombstone(rec, in.stream, ev)
	}
	for i := range rec.Headers {
		if name, ok := strings.CutPrefix(rec.Headers[i].Key, "ce_"); ok {
			d.json.Attribute(name, rec.Headers[i].Value)
		}
	}
	if err := d.value(r.targets[in.way()][in.stream], rec); err != nil {
		return d.unread(rec, ev, err)
	}
	if d.frame.LacksRevenue() {
		d.frame.Begin(in.settings)
		if err := d.value(r.targets[forWorth][in.stream], rec); err != nil {
			return 0, err
		}
	}
	what, err := d.finish(rec.Topic, in, ev)
	if err != nil {
		if cause := CauseOf(err); cause == bad.Missing || cause == bad.Identity {
			return d.batch(in, rec, ev, err)
		}
		return 0, err
	}
	ev.Lag = max(0, rec.Time-ev.At)
	return what, err
}

// unread says what a record is that there is no event in.
func (d *decoder) unread(rec *Record, ev *engine.Event, err error) (Result, error) {
	if !errors.Is(err, jsonread.ErrSkipped) {
		return 0, err
	}
	d.note(rec.Topic)
	return skip(rec, ev)
}

// skip makes a record one that is no event.
func skip(rec *Record, ev *engine.Event) (Result, error) {
	rec.More = More{}
	*ev = engine.Event{At: rec.Time, Fields: ev.Fields[:0]}
	return IsSkipped, nil
}

// note tells what there is to say of the record.
func (d *decoder) note(topic string) {
	if d.cfg.Noted == nil || d.noted {
		return
	}
	for i := range d.frame.Notes() {
		d.cfg.Noted(topic, &d.frame.Notes()[i])
	}
}

// Ahead looks up the schema that a record names, so that it is known when the record
// is read. It returns at once, and does nothing for other records, or
// where Read itself waits for the registry. It is for records that are behind one that
// has to wait: without it each of them would have to wait by itself.
func (r *Reader) Ahead(value []byte, came time.Time) {
	if r.cfg.Registry != nil && r.cfg.Go != nil && len(value) >= 5 && value[0] == 0x00 {
		r.lookups.Ahead(binary.BigEndian.Uint32(value[1:]), came)
	}
}

// topic returns the input of that name, nil if there is none.
func (r *Reader) topic(name string) *topic {
	for i := range r.topics {
		if t := &r.topics[i]; t.name == name {
			return t
		}
	}
	return nil
}

// take returns memory for reading a record of an input.
func (r *Reader) take(key []byte, in *topic) *decoder {
	d, _ := r.decoder.Get().(*decoder)
	if d == nil {
		d = &decoder{Reader: r, last: make([]lastProgram, r.cfg.targets())}
		d.frame = frame.New(r.cfg.MaxID)
		d.avro = avro.NewReader(&d.frame)
		d.json = jsonread.NewDecoder(&d.frame, r.cfg.Catalog.Table())
		if len(r.cfg.Mappings) > 0 {
			d.runner = mapping.NewRunner(r.cfg.Catalog.Table(), r.cfg.zones())
		}
	}
	d.key, d.noted = key, false
	d.frame.Begin(in.settings)
	return d
}

// maxKept is the memory of one kind that is kept between records. What a giant
// record needed is given back.
const maxKept = 64 << 10

// give takes the memory back.
func (r *Reader) give(d *decoder) {
	d.key = nil
	if cap(d.asText) > maxKept {
		d.asText = nil
	}
	d.avro.Forget()
	bytes, entries := d.json.Forget()
	fbytes, cells := d.frame.Kept()
	if bytes+fbytes > maxKept || entries+cells > maxKept/8 {
		return
	}
	r.decoder.Put(d)
}

// finish completes the event in the frame from what surrounds the value.
func (d *decoder) finish(name string, in *topic, ev *engine.Event) (Result, error) {
	d.frame.DropPlaceholders()
	if e := d.json.FillIn(); e != nil {
		return 0, e
	}
	made := frame.Event{Fields: ev.Fields}
	if e := d.frame.Finish(d.key, d.cfg.Zones, &made); e != nil {
		return 0, e
	}
	ev.Stream, ev.Customer, ev.ID, ev.Source = plan.Stream(d.frame.Target.Stream), made.Customer, made.ID, made.Source
	ev.At, ev.Lag, ev.Fields = made.At, 0, made.Fields
	in.mixes(&d.frame)
	d.note(name)
	return IsEvent, nil
}

// tombstone reads a record without a value.
func (d *decoder) tombstone(rec *Record, stream plan.Stream, ev *engine.Event) (Result, error) {
	if !d.cfg.Catalog.Table().Info(stream).Attributes {
		return 0, bad.New(bad.Format, "", "the value is empty, which means something only on the profile topic: erase the customer")
	}
	return d.erasure(rec, stream, ev, true)
}

// erasure reads the erasure of whom the key names. plain says that the key is as somebody
// wrote it, so that it may be no bare id by mistake.
func (d *decoder) erasure(rec *Record, stream plan.Stream, ev *engine.Event, plain bool) (Result, error) {
	if len(d.key) == 0 {
		return 0, bad.New(bad.Identity, "key", "neither key nor value: there is no customer to erase")
	}
	if e := d.frame.CheckKey(d.key); e != nil {
		return 0, e
	}
	if why := NotPlain(string(d.key)); plain && why != "" && !literal(rec.Headers) {
		return 0, bad.New(bad.Identity, "key", "%s, so this is not a bare customer id and nobody is erased; write the bare id, or set the header %s: %s if this is the id", why, HeaderErase, EraseLiteral)
	}
	*ev = engine.Event{Stream: stream, Customer: string(d.key), At: rec.Time, Fields: ev.Fields[:0]}
	return IsTombstone, nil
}

// value reads a value into the frame. Its first bytes tell its format:
//
//	00 | id uint32 | Avro              Confluent
//	C3 01 | fingerprint uint64 | Avro  Avro single object, of a schema of ours
//	{ "specversion" …                  CloudEvents
//	{ "messageId", "type" …            Segment
//	{ …                                JSON with the names of our schema
func (d *decoder) value(t *frame.Target, rec *Record) error {
	b := rec.Value
	if b[0] == 0x00 && len(b) >= 5 {
		last, id := &d.last[t.Number], binary.BigEndian.Uint32(b[1:])
		if last.op != nil && last.id == id {
			return d.readAvro(last.op, t, b, 5)
		}
	}
	if b[0] == 0x00 || len(b) >= 2 && b[0] == 0xC3 && b[1] == 0x01 {
		w, from, err := d.writer(rec)
		if err != nil {
			return err
		}
		o, e := w.Program(t)
		if e != nil {
			return e
		}
		if b[0] == 0x00 {
			d.last[t.Number] = lastProgram{binary.BigEndian.Uint32(b[1:]), o}
		}
		return d.readAvro(o, t, b, from)
	}
	if e := d.json.Read(d.targets[t.Number/d.cfg.Catalog.Table().Len()], t, b); e != nil {
		return e
	}
	return nil
}

// readAvro reads Avro bytes that begin at from.
func (d *decoder) readAvro(o *avro.Op, t *frame.Target, b []byte, from int) error {
	d.frame.Reset(t)
	if e := d.avro.Read(o, b, from); e != nil {
		return e
	}
	return nil
}

// ReadJSONLine makes an event of a line of a file: JSON with the names of our
// schemas and one more key, "stream", such as "web". A Segment message needs no
// "stream". Errors and ev are as in [Reader.Read], and more is set to what else the line
// is, as that of a Record; nil: only a line that is one event is read.
func (r *Reader) ReadJSONLine(line []byte, ev *engine.Event, more *More) (Result, error) {
	if len(line) > r.cfg.MaxBytes {
		return 0, bad.New(bad.Size, "", "%d bytes long, more than %d", len(line), r.cfg.MaxBytes)
	}
	if more == nil {
		return r.readLine(line, ev)
	}
	*more = More{}
	what, err := r.readLine(line, ev)
	if CauseOf(err) != bad.Missing {
		return what, err
	}
	d := r.take(nil, &r.lines)
	defer r.give(d)
	rec := Record{Value: line}
	what, err = d.batch(&r.lines, &rec, ev, err)
	*more = rec.More
	return what, err
}

// readLine reads a line that is one event.
func (r *Reader) readLine(line []byte, ev *engine.Event) (Result, error) {
	d := r.take(nil, &r.lines)
	defer r.give(d)
	if e := d.line(r.lines.way(), line); e != nil {
		return d.unread(&Record{}, ev, e)
	}
	if d.frame.LacksRevenue() {
		d.frame.Begin(r.lines.settings)
		if e := d.line(forWorth, line); e != nil {
			return 0, e
		}
	}
	return d.finish(d.lineOf(), &r.lines, ev)
}

// lineOf returns what stands for the topic of the line that was read: its stream.
func (d *decoder) lineOf() string {
	return d.cfg.Catalog.Table().Name(plan.Stream(d.frame.Target.Stream))
}

// line reads a line into the frame.
func (d *decoder) line(way int, line []byte) *bad.Input {
	return d.json.Read(d.targets[way], nil, line)
}

// writer returns the schema that an Avro record was written with, and where its bytes
// begin.
func (d *decoder) writer(rec *Record) (*avro.Writer, int, error) {
	b := rec.Value
	if b[0] == 0x00 {
		if len(b) < 5 {
			return nil, 0, bad.New(bad.Format, "", "%d bytes are too few for a schema id", len(b))
		}
		w, err := d.lookups.Get(binary.BigEndian.Uint32(b[1:]), rec.Came)
		return w, 5, err
	}
	if len(b) < 10 {
		return nil, 0, bad.New(bad.Format, "", "%d bytes are too few for a schema's fingerprint", len(b))
	}
	fp := binary.LittleEndian.Uint64(b[2:])
	w := d.own[fp]
	if w == nil {
		return nil, 0, bad.New(bad.Schema, "", "fingerprint %016x matches no schema of segmill", fp)
	}
	return w, 10, nil
}

// CauseOf returns the cause of bad input, "" if err is none.
func CauseOf(err error) bad.Cause {
	var e *bad.Input
	if errors.As(err, &e) {
		return e.Cause
	}
	return ""
}
