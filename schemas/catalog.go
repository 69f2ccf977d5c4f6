package schemas

import (
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas/avro"
)

// Catalog returns the fields of every stream in the order of the schemas. Money
// has kind [expr.Decimal], an enum is a string with Symbols, and ["null", T] is T
// with Optional set.
func Catalog() *plan.Catalog {
	c := &plan.Catalog{Fields: make([][]expr.Field, plan.NumBuiltin)}
	for s := range plan.NumBuiltin {
		c.Fields[s] = avro.FieldsOf(mustSchema(InputName(s)))
	}
	return c
}
