package language

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// Catalog gives the CEL checker the types of a plan.Catalog. The names of
// object types start with @ so that no expression can say them: "@purchase" is
// an event of that stream, "@purchase.items" an element of its list.
type Catalog struct {
	streams *plan.Streams
	objects map[string][]expr.Field
}

// NewCatalog returns the types of a catalog.
func NewCatalog(cat *plan.Catalog) *Catalog {
	c := &Catalog{streams: cat.Streams, objects: make(map[string][]expr.Field)}
	for s, info := range cat.Streams.All() {
		c.add("@"+info.Name, cat.Fields[s])
	}
	return c
}

func (c *Catalog) add(name string, fields []expr.Field) {
	c.objects[name] = fields
	for _, f := range fields {
		t := &f.Type
		for t.Kind == expr.List && t.Elem != nil {
			t = t.Elem
		}
		if t.Kind == expr.Record {
			c.add(name+"."+f.Name, t.Fields)
		}
	}
}

// Field finds a field of an object type, and its index in it.
func (c *Catalog) Field(object, name string) (*expr.Type, int) {
	fields := c.objects[object]
	i := slices.IndexFunc(fields, func(f expr.Field) bool { return f.Name == name })
	if i < 0 {
		return nil, -1
	}
	return &fields[i].Type, i
}

// Names lists the fields of an object type, those that all streams have last: people who
// look for a field seldom mean them.
func (c *Catalog) Names(object string) []string {
	var names, common []string
	for _, f := range c.objects[object] {
		if slices.Contains(plan.CommonFields, f.Name) && !strings.Contains(object, ".") {
			common = append(common, f.Name)
		} else {
			names = append(names, f.Name)
		}
	}
	return append(names, common...)
}

// TypeOf is the type that conditions see: money is a double, a date a time.
func TypeOf(t *expr.Type, object string) *types.Type {
	if t.Map {
		return types.NewMapType(types.StringType, types.StringType)
	}
	switch t.Kind {
	case expr.Bool:
		return types.BoolType
	case expr.Int:
		return types.IntType
	case expr.Double, expr.Decimal:
		return types.DoubleType
	case expr.String:
		return types.StringType
	case expr.Time, expr.Date:
		return types.TimestampType
	case expr.Duration:
		return types.DurationType
	case expr.List:
		return types.NewListType(TypeOf(t.Elem, object))
	case expr.Record:
		return types.NewObjectType(object)
	default:
		return types.DynType
	}
}

// KindOf is the inverse of TypeOf, as far as there is one.
func KindOf(t *types.Type) expr.Kind {
	switch t.Kind() {
	case types.BoolKind:
		return expr.Bool
	case types.IntKind:
		return expr.Int
	case types.DoubleKind:
		return expr.Double
	case types.StringKind:
		return expr.String
	case types.TimestampKind:
		return expr.Time
	case types.DurationKind:
		return expr.Duration
	case types.ListKind:
		return expr.List
	case types.StructKind:
		return expr.Record
	default:
		return expr.Absent
	}
}

// RuleKind is the kind by which rules see values that are stored as k.
func RuleKind(k expr.Kind) expr.Kind {
	if k == expr.Decimal {
		return expr.Double
	}
	return k
}

// FindStructType is part of types.Provider.
func (c *Catalog) FindStructType(name string) (*types.Type, bool) {
	if _, ok := c.objects[name]; !ok {
		return nil, false
	}
	return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
}

// FindStructFieldNames is part of types.Provider.
func (c *Catalog) FindStructFieldNames(name string) ([]string, bool) {
	_, ok := c.objects[name]
	return c.Names(name), ok
}

// FindStructFieldType is part of types.Provider.
func (c *Catalog) FindStructFieldType(object, name string) (*types.FieldType, bool) {
	t, i := c.Field(object, name)
	if i < 0 {
		return nil, false
	}
	return &types.FieldType{Type: TypeOf(t, object+"."+name)}, true
}

// EnumValue is part of types.Provider; enumerations are strings here.
func (c *Catalog) EnumValue(name string) ref.Val { return types.NewErr("no enumeration %s", name) }

// FindIdent is part of types.Provider; there are no names but those of the
// environment.
func (c *Catalog) FindIdent(string) (ref.Val, bool) { return nil, false }

// NewValue is part of types.Provider; nothing is evaluated in CEL.
func (c *Catalog) NewValue(object string, _ map[string]ref.Val) ref.Val {
	return types.NewErr("no values of %s", object)
}

// InWords names a type in an error.
func InWords(t *types.Type) string {
	switch t.Kind() {
	case types.BoolKind:
		return "a boolean"
	case types.IntKind:
		return "an integer"
	case types.DoubleKind:
		return "a number"
	case types.StringKind:
		return "a string"
	case types.TimestampKind:
		return "a time"
	case types.DurationKind:
		return "a duration"
	case types.ListKind:
		return "a list"
	case types.MapKind:
		return "a map"
	case types.NullTypeKind:
		return "null"
	case types.StructKind:
		name := strings.TrimPrefix(t.TypeName(), "@")
		if name == plan.Profile.String() {
			return "the profile"
		}
		if stream, field, ok := strings.Cut(name, "."); ok {
			return fmt.Sprintf("an element of %s.%s", stream, field)
		}
		return "an event of " + name
	case types.UintKind, types.BytesKind:
		return "a value that rules do not support"
	default:
		return "a value of another type"
	}
}
