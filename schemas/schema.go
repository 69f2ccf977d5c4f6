package schemas

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// wire is how a value stands in Avro bytes.
type wire uint8

const (
	wireNull wire = iota
	wireBool
	wireInt
	wireLong
	wireFloat
	wireDouble
	wireBytes
	wireString
	wireFixed
	wireEnum
	wireRecord
	wireArray
	wireMap
	wireUnion
)

var wireNames = [...]string{"null", "boolean", "int", "long", "float", "double", "bytes",
	"string", "fixed", "enum", "record", "array", "map", "union"}

// String returns the name of the wire type in Avro.
func (w wire) String() string { return wireNames[w] }

// schema is a parsed Avro schema: a tree in which a named type that is used
// twice stands once. It never contains itself.
type schema struct {
	wire    wire
	logical string // "decimal", "timestamp-millis" …; "" if none or not understood
	name    string // full name of a record, enum or fixed
	doc     string
	size    int // of a fixed, in bytes
	scale   int // of a decimal
	symbols []string
	fields  []schemaField
	items   *schema   // of an array; the values of a map
	union   []*schema // the branches of a union

	// What the gate knows of it (see gate.go).
	minBytes int  // no value of it takes fewer bytes
	cost     int  // values stepped through for one value of it, arrays empty
	open     bool // still being parsed: meeting it now means recursion
}

// schemaField is a field of a record.
type schemaField struct {
	name, doc string
	typ       *schema
	def       any // as encoding/json gives it; nil for null and for none
	hasDef    bool
	words     []string // x-values
}

// schemaParser turns JSON into a schema, within the limits of the gate.
type schemaParser struct {
	names map[string]*schema
}

// parseSchema parses an Avro schema and keeps every limit of the gate.
func parseSchema(text []byte) (*schema, error) {
	if len(text) > maxSchemaBytes {
		return nil, fmt.Errorf("%d bytes long, more than %d", len(text), maxSchemaBytes)
	}
	if err := check(text, maxSchemaJSONDepth); err != nil {
		return nil, err
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return nil, err
	}
	p := schemaParser{names: map[string]*schema{}}
	return p.parse(v, "", 1)
}

// parse turns one JSON value into a schema. Names without a dot belong to the
// namespace ns; depth counts the types around it.
func (p *schemaParser) parse(v any, ns string, depth int) (*schema, error) {
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
func (p *schemaParser) named(name, ns string) (*schema, error) {
	for w, n := range wireNames[:wireFixed] {
		if n == name {
			return sized(&schema{wire: wire(w)})
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
		return nil, fmt.Errorf("type %q contains itself", name)
	}
	return s, nil
}

func fullName(name, ns string) string {
	if ns == "" || strings.Contains(name, ".") {
		return name
	}
	return ns + "." + name
}

func (p *schemaParser) parseUnion(l []any, ns string, depth int) (*schema, error) {
	s := &schema{wire: wireUnion}
	for _, v := range l {
		b, err := p.parse(v, ns, depth+1)
		if err != nil {
			return nil, err
		}
		if b.wire == wireUnion {
			return nil, errors.New("a union stands directly in a union")
		}
		s.union = append(s.union, b)
	}
	if len(s.union) == 0 {
		return nil, errors.New("a union has no branches")
	}
	return sized(s)
}

func (p *schemaParser) parseObject(o map[string]any, ns string, depth int) (*schema, error) {
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
			return p.parseItems(wireArray, o["items"], ns, depth)
		case "map":
			return p.parseItems(wireMap, o["values"], ns, depth)
		}
		s, err := p.named(t, ns)
		if err != nil || s.name != "" {
			return s, err
		}
		return s, s.setLogical(o)
	case nil:
		return nil, errors.New("a type has no \"type\"")
	default:
		return p.parse(t, ns, depth+1)
	}
}

func (p *schemaParser) parseItems(w wire, v any, ns string, depth int) (*schema, error) {
	items, err := p.parse(v, ns, depth+1)
	if err != nil {
		return nil, err
	}
	return sized(&schema{wire: w, items: items})
}

// define enters a named type and returns the namespace inside it.
func (p *schemaParser) define(s *schema, o map[string]any, ns string) (string, error) {
	name, _ := o["name"].(string)
	if name == "" {
		return "", fmt.Errorf("a %v has no name", s.wire)
	}
	if own, ok := o["namespace"].(string); ok {
		ns = own
	}
	s.name = fullName(name, ns)
	if i := strings.LastIndexByte(s.name, '.'); i >= 0 {
		ns = s.name[:i]
	}
	s.doc, _ = o["doc"].(string)
	if p.names[s.name] != nil {
		return "", fmt.Errorf("type %q is defined twice", s.name)
	}
	p.names[s.name] = s
	return ns, nil
}

func (p *schemaParser) parseRecord(o map[string]any, ns string, depth int) (*schema, error) {
	s := &schema{wire: wireRecord, open: true}
	ns, err := p.define(s, o, ns)
	if err != nil {
		return nil, err
	}
	fields, ok := o["fields"].([]any)
	if !ok {
		return nil, fmt.Errorf("record %s has no fields", s.name)
	}
	seen := make(map[string]bool, len(fields))
	for _, v := range fields {
		fo, _ := v.(map[string]any)
		f := schemaField{}
		f.name, _ = fo["name"].(string)
		if f.name == "" || seen[f.name] {
			return nil, fmt.Errorf("record %s: field %q has no name or is defined twice", s.name, f.name)
		}
		seen[f.name] = true
		f.doc, _ = fo["doc"].(string)
		f.def, f.hasDef = fo["default"]
		words, _ := fo["x-values"].([]any)
		for _, w := range words {
			if w, ok := w.(string); ok {
				f.words = append(f.words, w)
			}
		}
		if f.typ, err = p.parse(fo["type"], ns, depth+1); err != nil {
			return nil, fmt.Errorf("field %q: %w", f.name, err)
		}
		s.fields = append(s.fields, f)
	}
	s.open = false
	return sized(s)
}

func (p *schemaParser) parseEnum(o map[string]any, ns string) (*schema, error) {
	s := &schema{wire: wireEnum}
	if _, err := p.define(s, o, ns); err != nil {
		return nil, err
	}
	l, _ := o["symbols"].([]any)
	for _, v := range l {
		sym, ok := v.(string)
		if !ok {
			return nil, fmt.Errorf("enum %s: symbol %v is not a string", s.name, v)
		}
		s.symbols = append(s.symbols, sym)
	}
	if len(s.symbols) == 0 {
		return nil, fmt.Errorf("enum %s has no symbols", s.name)
	}
	return sized(s)
}

func (p *schemaParser) parseFixed(o map[string]any, ns string) (*schema, error) {
	s := &schema{wire: wireFixed}
	if _, err := p.define(s, o, ns); err != nil {
		return nil, err
	}
	n, ok := intOf(o["size"])
	if !ok || n > maxFixed {
		return nil, fmt.Errorf("fixed %s: size %v is not a number from 0 to %d", s.name, o["size"], maxFixed)
	}
	s.size = n
	if err := s.setLogical(o); err != nil {
		return nil, err
	}
	return sized(s)
}

// setLogical takes over a logical type that fits the wire type; as Avro asks, one
// that does not fit is ignored.
func (s *schema) setLogical(o map[string]any) error {
	l, _ := o["logicalType"].(string)
	switch {
	case l == "decimal" && (s.wire == wireBytes || s.wire == wireFixed):
		n, ok := intOf(o["scale"])
		if _, has := o["scale"]; has && (!ok || n > maxScale) {
			return fmt.Errorf("decimal scale %v is not a number from 0 to %d", o["scale"], maxScale)
		}
		s.scale = n
	case l == "date" && s.wire == wireInt:
	case s.wire == wireLong && (strings.HasPrefix(l, "timestamp-") || strings.HasPrefix(l, "local-timestamp-")):
	default:
		return nil
	}
	s.logical = l
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

// code returns what stands for a symbol of an enum in the record s.
func (s *schema) code(field, symbol string) byte {
	i := slices.IndexFunc(s.fields, func(f schemaField) bool { return f.name == field })
	return byte(2 * s.fields[i].typ.symbol(symbol))
}

// symbol returns the index of a symbol, 0 ("unknown") if the enum does not have it.
func (s *schema) symbol(name string) int {
	for i, sym := range s.symbols {
		if sym == name {
			return i
		}
	}
	return 0
}
