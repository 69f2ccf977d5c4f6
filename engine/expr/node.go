package expr

// Op is what a Node does.
type Op uint8

// The operations. Logic is three-valued: an absent operand makes a comparison
// unknown, and unknown (a Value of kind Absent) is absorbed by && and || as in
// CEL and SQL. An error while evaluating (division by zero, overflow, an index
// out of range) is unknown too.
const (
	OpConst  Op = iota // Const
	OpField            // Path: a field of the current event, such as "revenue" or "attributes.plan"
	OpInput            // Ref: an input of the customer, an index into the inputs of the rule set
	OpVar              // Ref: a variable of an enclosing OpFold: slot number
	OpList             // Args: a list of values
	OpMember           // Args[0]: a record; Ref: the index of its field
	OpIndex            // Args[0]: a list; Args[1]: an int
	OpHas              // Args[0]: an OpField, OpInput or OpMember; true if it has a value, never unknown
	OpNot              // Args[0]
	OpAnd              // Args: two or more
	OpOr               // Args: two or more
	OpCond             // Args[0] ? Args[1] : Args[2]
	OpEq               // Args[0], Args[1]
	OpNe
	OpLt
	OpLe
	OpGt
	OpGe
	OpIn // Args[0] in Args[1]
	OpAdd
	OpSub
	OpMul
	OpDiv
	OpMod
	OpNeg
	OpCall // Name(Args...): see the list of functions in compile.go
	OpFold // a comprehension (exists, all, filter, map): see Fold

	// Of expressions over documents alone.
	OpSelect // Args[0]: an object; Name: of its member
	OpObject // Args: the values of an object; Const: a list of their names
)

// Node is one node of a checked expression. A tree is built once by the rule
// compiler and never changed afterwards.
type Node struct {
	Op    Op
	Type  Kind // static kind of the result; never Decimal, which is Double here
	Const Value
	Path  string
	Name  string
	Ref   int
	Args  []*Node
	Fold  *Fold
}

// Fold is a comprehension in CEL's general form: the accumulator starts as Init;
// for each element of Range, while While holds, it becomes Step; the result is
// Result. Var and Acc are the slots of the two variables.
type Fold struct {
	Var, Acc                         int
	Range, Init, While, Step, Result *Node
}

// Type describes a field of a stream or of a record in one.
type Type struct {
	Kind     Kind
	Elem     *Type   // of a List
	Fields   []Field // of a Record
	Symbols  []string
	Words    []string
	Map      bool // a map of string to string, read by constant key; Kind is then String
	Optional bool
	Own      string // the word that a rule file declares it with, "number"; "" in the schemas
}

// IsMoney reports whether values of the type are amounts of money, which events that
// take something back are subtracted by.
func (t *Type) IsMoney() bool { return t.Kind == Decimal && t.Own != "number" }

// Field is a named part of a record or a stream.
type Field struct {
	Name string
	Doc  string
	Type Type
}
