package rule

import (
	"slices"
	"strconv"

	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule/file"
	"github.com/segmill/segmill/engine/rule/language"
)

// extended returns the catalog with the streams and fields that the files declare.
func extended(cat *plan.Catalog, own *file.Own, l *file.Log) *plan.Catalog {
	d := declarations{Log: l, cat: cat}
	for _, s := range own.Streams {
		d.stream(s)
	}
	for _, f := range own.Fields {
		d.field(f)
	}
	return cat.With(d.streams, d.fields)
}

// declarations are the streams and fields that files declare, each once.
type declarations struct {
	*file.Log
	cat     *plan.Catalog
	streams []plan.OwnStream
	fields  []plan.OwnField
	// places are where streams, by their number in streams, and fields are declared.
	streamPlaces, fieldPlaces []file.Place
}

// stream takes a declaration of a stream. Another file may declare it too.
func (d *declarations) stream(s file.OwnStream) {
	name := s.Name.Text
	i := slices.IndexFunc(d.streams, func(o plan.OwnStream) bool { return o.Name == name })
	_, builtin := d.cat.Streams.ByName(name)
	switch {
	case builtin:
		d.FailHint(s.Name, "declare more fields of it under fields: "+name+": …", "%s is a built-in stream", strconv.Quote(name))
	case language.IsWord(name):
		d.FailHint(s.Name, "choose another name", "%s is a reserved name", strconv.Quote(name))
	case i < 0 && len(d.streams) == plan.MaxOwnStreams:
		d.Fail(s.Name, "a rule set can declare at most %d streams", plan.MaxOwnStreams)
	case i < 0:
		d.streams = append(d.streams, plan.OwnStream{Name: name, Activity: s.Activity})
		d.streamPlaces = append(d.streamPlaces, s.Name)
	case d.streams[i].Activity != s.Activity:
		d.FailHint(s.Name, "declare it in one file, or write the same in both", "%s has activity: %t here and activity: %t in %s",
			strconv.Quote(name), s.Activity, d.streams[i].Activity, file.Where(d.streamPlaces[i]))
	}
}

// field takes a declaration of a field. Another file may declare it too, with the same type.
func (d *declarations) field(f file.OwnField) {
	stream, name := f.Stream.Text, f.Name.Text
	s, builtin := d.cat.Streams.ByName(stream)
	declared := slices.ContainsFunc(d.streams, func(o plan.OwnStream) bool { return o.Name == stream })
	i := slices.IndexFunc(d.fields, func(o plan.OwnField) bool { return o.Stream == stream && o.Name == name })
	switch {
	case !builtin && !declared:
		if language.IsWord(stream) {
			return // told where the stream is declared
		}
		names := d.cat.Streams.Names()
		for _, o := range d.streams {
			names = append(names, o.Name)
		}
		d.FailHint(f.Stream, file.DidYouMean(stream, names), "fields of the unknown stream %s", strconv.Quote(stream))
	case builtin && d.cat.TypeOf(s, name) != nil:
		d.FailHint(f.Name, "remove it; rules read it without that", "%s.%s is a field of the built-in schema", stream, name)
	case !builtin && slices.Contains(plan.CommonFields, name):
		d.FailHint(f.Name, "remove it; rules read it without that", "%s.%s is a field that every stream has", stream, name)
	case language.IsReserved(name) || name == "stream":
		d.FailHint(f.Name, "choose another name", "%s is a reserved name", strconv.Quote(name))
	case i < 0:
		d.fields = append(d.fields, plan.OwnField{Stream: stream, Name: name, Type: f.Type})
		d.fieldPlaces = append(d.fieldPlaces, f.Word)
	case d.fields[i].Type.Own != f.Type.Own:
		d.FailHint(f.Word, "give it one type", "%s.%s is %s here and %s in %s", stream, name, f.Type.Own, d.fields[i].Type.Own, file.Where(d.fieldPlaces[i]))
	}
}
