package avro

import (
	"fmt"
	"math"

	"github.com/linkedin/goavro/v2"
)

// The limits of the gate. A schema of a real event is far below each; each is
// what keeps one known attack on Avro readers out.
const (
	MaxSchemaBytes     = 64 << 10
	maxSchemaDepth     = 32  // types within types: recursion in every library
	maxSchemaJSONDepth = 128 // a level of types takes up to four of JSON
	maxFixed           = 64 << 10
	maxScale           = 76
	maxCost            = 4096 // values in one record with empty arrays: shared types grow as 2^depth
)

// Gate decides whether a schema that somebody else wrote may be used. goavro is
// asked last, as the checker of everything that the parser here is not strict
// about; the limits before it keep goavro from running out of stack or memory.
func Gate(text string) (*Schema, error) {
	s, err := Parse([]byte(text))
	if err != nil {
		return nil, err
	}
	if err := accepted(text); err != nil {
		return nil, err
	}
	return s, nil
}

// accepted reports whether goavro takes a schema. It panics where an attribute has a type
// that it does not expect, such as a scale that is a text.
func accepted(text string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the schema is malformed: %v", p)
		}
	}()
	_, err = goavro.NewCodec(text)
	return err
}

// sized sets minBytes and cost of a type whose parts are complete. It refuses an
// array or a map whose items can take no bytes, since six bytes could then mean
// 2^62 items, and a type that takes too many steps.
func sized(s *Schema) (*Schema, error) {
	s.cost = 1
	switch s.Wire {
	case Null:
	case Float:
		s.minBytes = 4
	case Double:
		s.minBytes = 8
	case Fixed:
		s.minBytes = s.size
	case Union:
		least, most := math.MaxInt, 0
		for _, b := range s.Union {
			least, most = min(least, b.minBytes), max(most, b.cost)
		}
		s.minBytes, s.cost = 1+least, 1+most
	case Record:
		s.minBytes = 0
		for _, f := range s.Fields {
			s.minBytes += f.Type.minBytes
			s.cost += f.Type.cost
		}
	case Array:
		s.minBytes = 1
		if s.Items.minBytes == 0 {
			return nil, fmt.Errorf("the items of an array (%v) can take no bytes", s.Items.Wire)
		}
	default: // bool, int, long, bytes, string, enum; a map's key takes a byte
		s.minBytes = 1
	}
	if s.cost > maxCost {
		return nil, fmt.Errorf("type %s holds more than %d values", s.Name, maxCost)
	}
	return s, nil
}
