// Package avro reads Avro: schemas, which pass a gate first, and records, by programs
// that are compiled from the writer's schema and the fields that are wanted.
//
// The one rule it keeps: neither a schema nor a record is believed. A schema is
// bounded before any library sees it, and nothing is allocated by a length before the
// bytes are known to be there.
//
// It knows nothing of customers, streams and rules: a program fills a [frame.Frame].
package avro

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/segmill/segmill/schemas/jsontext"
)

// Wire is how a value is encoded in Avro.
type Wire uint8

// The wire types.
const (
	Null Wire = iota
	Bool
	Int
	Long
	Float
	Double
	Bytes
	String
	Fixed
	Enum
	Record
	Array
	Map
	Union
)

var wireNames = [...]string{
	"null", "boolean", "int", "long", "float", "double", "bytes",
	"string", "fixed", "enum", "record", "array", "map", "union",
}

// String returns the name of the wire type in Avro.
func (w Wire) String() string { return wireNames[w] }

// Schema is a parsed Avro schema: a tree in which a named type that is used
// twice is one node. A record may contain itself, which is then only stepped over.
type Schema struct {
	Wire    Wire
	Logical string // "decimal", "timestamp-millis" …; "" if none or not understood
	Name    string // full name of a record, enum or fixed
	doc     string
	size    int // of a fixed, in bytes
	scale   int // of a decimal
	Symbols []string
	Fields  []Field
	Items   *Schema   // of an array; the values of a map
	Union   []*Schema // the branches of a union

	// What the gate knows of it (see gate.go).
	minBytes int  // no value of it takes fewer bytes
	cost     int  // values stepped through for one value of it, arrays empty
	open     bool // still being parsed: meeting it now means recursion
	again    bool // it contains itself
}

// Field is a field of a record.
type Field struct {
	Name, doc  string
	Type       *Schema
	Default    any // as encoding/json gives it; nil for null and for none
	HasDefault bool
	words      []string // x-values
}

// schemaParser turns JSON into a schema, within the limits of the gate.
type schemaParser struct {
	names map[string]*Schema
}

// Parse parses an Avro schema and keeps every limit of the gate.
func Parse(text []byte) (*Schema, error) {
	if len(text) > MaxSchemaBytes {
		return nil, fmt.Errorf("%d bytes long, more than %d", len(text), MaxSchemaBytes)
	}
	if err := jsontext.Check(text, maxSchemaJSONDepth); err != nil {
		return nil, err
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return nil, err
	}
	p := schemaParser{names: map[string]*Schema{}}
	return p.parse(v, "", 1)
}

// parse turns one JSON value into a schema. Names without a dot belong to the
// namespace ns; depth counts the types around it.
func (p *schemaParser) parse(v any, ns string, depth int) (*Schema, error) {
	if depth > maxSchemaDepth {
		return nil, fmt.Errorf("types are nested more than %d deep", maxSchemaDepth)
	}
	switch v := v.(type) {
	case string:
		return p.named(v, ns)
	case []any:
		return p.parseUnion(v, ns, depth)
	case map[string]any:
		return p.parseObject(v, ns, depth)
	}
	return nil, fmt.Errorf("%v is not a type", v)
}

// named resolves a primitive type or the name of a type seen before.
func (p *schemaParser) named(name, ns string) (*Schema, error) {
	for w, n := range wireNames[:Fixed] {
		if n == name {
			return sized(&Schema{Wire: Wire(w)})
		}
	}
	s := p.names[fullName(name, ns)]
	if s == nil {
		s = p.names[name]
	}
	if s == nil {
		return nil, fmt.Errorf("type %q is not defined", name)
	}
	if s.open {
		s.again = true
	}
	return s, nil
}

func fullName(name, ns string) string {
	if ns == "" || strings.Contains(name, ".") {
		return name
	}
	return ns + "." + name
}

func (p *schemaParser) parseUnion(l []any, ns string, depth int) (*Schema, error) {
	s := &Schema{Wire: Union}
	for _, v := range l {
		b, err := p.parse(v, ns, depth+1)
		if err != nil {
			return nil, err
		}
		if b.Wire == Union {
			return nil, errors.New("a union directly inside a union")
		}
		s.Union = append(s.Union, b)
	}
	if len(s.Union) == 0 {
		return nil, errors.New("a union has no branches")
	}
	return sized(s)
}

func (p *schemaParser) parseObject(o map[string]any, ns string, depth int) (*Schema, error) {
	switch t := o["type"].(type) {
	case string:
		switch t {
		case "record", "error":
			return p.parseRecord(o, ns, depth)
		case "enum":
			return p.parseEnum(o, ns)
		case "fixed":
			return p.parseFixed(o, ns)
		case "array":
			return p.parseItems(Array, o["items"], ns, depth)
		case "map":
			return p.parseItems(Map, o["values"], ns, depth)
		}
		s, err := p.named(t, ns)
		if err != nil || s.Name != "" {
			return s, err
		}
		return s, s.setLogical(o)
	case nil:
		return nil, errors.New("a type has no \"type\"")
	default:
		return p.parse(t, ns, depth+1)
	}
}

func (p *schemaParser) parseItems(w Wire, v any, ns string, depth int) (*Schema, error) {
	items, err := p.parse(v, ns, depth+1)
	if err != nil {
		return nil, err
	}
	return sized(&Schema{Wire: w, Items: items})
}

// define enters a named type and returns the namespace inside it.
func (p *schemaParser) define(s *Schema, o map[string]any, ns string) (string, error) {
	name, _ := o["name"].(string)
	if name == "" {
		return "", fmt.Errorf("a %v has no name", s.Wire)
	}
	if own, ok := o["namespace"].(string); ok {
		ns = own
	}
	s.Name = fullName(name, ns)
	if i := strings.LastIndexByte(s.Name, '.'); i >= 0 {
		ns = s.Name[:i]
	}
	s.doc, _ = o["doc"].(string)
	if p.names[s.Name] != nil {
		return "", fmt.Errorf("type %q is defined twice", s.Name)
	}
	p.names[s.Name] = s
	return ns, nil
}

func (p *schemaParser) parseRecord(o map[string]any, ns string, depth int) (*Schema, error) {
	// Until more is known: whatever contains itself does so in a union, an array or a
	// map, which takes a byte.
	s := &Schema{Wire: Record, open: true, minBytes: 1, cost: 1}
	ns, err := p.define(s, o, ns)
	if err != nil {
		return nil, err
	}
	fields, ok := o["fields"].([]any)
	if !ok {
		return nil, fmt.Errorf("record %s has no fields", s.Name)
	}
	seen := make(map[string]bool, len(fields))
	for _, v := range fields {
		fo, _ := v.(map[string]any)
		f := Field{}
		f.Name, _ = fo["name"].(string)
		if f.Name == "" || seen[f.Name] {
			return nil, fmt.Errorf("record %s: field %q has no name or is defined twice", s.Name, f.Name)
		}
		seen[f.Name] = true
		f.doc, _ = fo["doc"].(string)
		f.Default, f.HasDefault = fo["default"]
		words, _ := fo["x-values"].([]any)
		for _, w := range words {
			if w, ok := w.(string); ok {
				f.words = append(f.words, w)
			}
		}
		if f.Type, err = p.parse(fo["type"], ns, depth+1); err != nil {
			return nil, fmt.Errorf("field %q: %w", f.Name, err)
		}
		s.Fields = append(s.Fields, f)
	}
	s.open = false
	return sized(s)
}

func (p *schemaParser) parseEnum(o map[string]any, ns string) (*Schema, error) {
	s := &Schema{Wire: Enum}
	if _, err := p.define(s, o, ns); err != nil {
		return nil, err
	}
	l, _ := o["symbols"].([]any)
	for _, v := range l {
		sym, ok := v.(string)
		if !ok {
			return nil, fmt.Errorf("enum %s: symbol %v is not a string", s.Name, v)
		}
		s.Symbols = append(s.Symbols, sym)
	}
	if len(s.Symbols) == 0 {
		return nil, fmt.Errorf("enum %s has no symbols", s.Name)
	}
	return sized(s)
}

func (p *schemaParser) parseFixed(o map[string]any, ns string) (*Schema, error) {
	s := &Schema{Wire: Fixed}
	if _, err := p.define(s, o, ns); err != nil {
		return nil, err
	}
	n, ok := intOf(o["size"])
	if !ok || n > maxFixed {
		return nil, fmt.Errorf("fixed %s: size %v is not a number from 0 to %d", s.Name, o["size"], maxFixed)
	}
	s.size = n
	if err := s.setLogical(o); err != nil {
		return nil, err
	}
	return sized(s)
}

// setLogical takes over a logical type that fits the wire type; as Avro asks, one
// that does not fit is ignored.
func (s *Schema) setLogical(o map[string]any) error {
	l, _ := o["logicalType"].(string)
	switch {
	case l == "decimal" && (s.Wire == Bytes || s.Wire == Fixed):
		n, ok := intOf(o["scale"])
		if _, has := o["scale"]; has && (!ok || n > maxScale) {
			return fmt.Errorf("decimal scale %v is not a number from 0 to %d", o["scale"], maxScale)
		}
		s.scale = n
	case l == "date" && s.Wire == Int:
	case s.Wire == Long && (strings.HasPrefix(l, "timestamp-") || strings.HasPrefix(l, "local-timestamp-")):
	default:
		return nil
	}
	s.Logical = l
	return nil
}

// intOf returns a JSON number that is a whole number, not negative and below 2^31.
func intOf(v any) (int, bool) {
	f, ok := v.(float64)
	if !ok || f != math.Trunc(f) || f < 0 || f > math.MaxInt32 {
		return 0, false
	}
	return int(f), true
}

// Code returns the code of a symbol of an enum in the record s.
func (s *Schema) Code(field, symbol string) byte {
	i := slices.IndexFunc(s.Fields, func(f Field) bool { return f.Name == field })
	return byte(2 * s.Fields[i].Type.Symbol(symbol))
}

// Symbol returns the index of a symbol, 0 ("unknown") if the enum does not have it.
func (s *Schema) Symbol(name string) int {
	for i, sym := range s.Symbols {
		if sym == name {
			return i
		}
	}
	return 0
}
