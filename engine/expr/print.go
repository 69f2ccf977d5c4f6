package expr

import (
	"strconv"
	"strings"
	"time"
)

// Binding strengths of the operators, weakest first, as CEL has them.
const (
	bindCond = iota + 1
	bindOr
	bindAnd
	bindRelation
	bindSum
	bindProduct
	bindUnary
	bindPrimary
)

// Text prints the tree in the rule language, in one canonical form: single
// spaces, no parenthesis that is not needed, durations in their largest unit.
// Trees that mean different things have different texts, so versions of rules
// and stored summaries are distinguished by it. inputs gives the text of an
// OpInput; it may be nil where there is none.
func (n *Node) Text(inputs func(ref int) string) string {
	p := printer{inputs: inputs}
	p.node(n, bindCond)
	return p.b.String()
}

type printer struct {
	b      strings.Builder
	inputs func(int) string
}

var signs = map[Op]string{
	OpEq: "==", OpNe: "!=", OpLt: "<", OpLe: "<=", OpGt: ">", OpGe: ">=", OpIn: "in",
	OpAdd: "+", OpSub: "-", OpMul: "*", OpDiv: "/", OpMod: "%", OpAnd: "&&", OpOr: "||",
}

// binding is how strongly the operator of n holds its operands together.
func binding(n *Node) int {
	switch n.Op {
	case OpCond:
		return bindCond
	case OpOr:
		return bindOr
	case OpAnd:
		return bindAnd
	case OpEq, OpNe, OpLt, OpLe, OpGt, OpGe, OpIn:
		return bindRelation
	case OpAdd, OpSub:
		return bindSum
	case OpMul, OpDiv, OpMod:
		return bindProduct
	case OpNot, OpNeg:
		return bindUnary
	case OpConst:
		if (n.Const.K == Int && n.Const.N < 0) || (n.Const.K == Double && n.Const.Float() < 0) {
			return bindUnary
		}
	default:
	}
	return bindPrimary
}

// node prints n, in parentheses if it binds weaker than its place demands.
func (p *printer) node(n *Node, least int) {
	if binding(n) < least {
		p.b.WriteByte('(')
		defer p.b.WriteByte(')')
	}
	switch n.Op {
	case OpConst:
		p.b.WriteString(constText(n.Const))
	case OpField:
		p.b.WriteString(FieldText(n.Name, n.Path))
	case OpInput:
		p.input(n.Ref)
	case OpVar:
		p.variable(n.Ref)
	case OpList:
		p.list("[", n.Args, "]")
	case OpMember:
		p.node(n.Args[0], bindPrimary)
		p.b.WriteByte('.')
		p.b.WriteString(memberName(n))
	case OpSelect:
		p.node(n.Args[0], bindPrimary)
		p.list("[", []*Node{{Op: OpConst, Const: StringValue(n.Name)}}, "]")
	case OpObject:
		p.object(n)
	case OpIndex:
		p.node(n.Args[0], bindPrimary)
		p.list("[", n.Args[1:], "]")
	case OpHas:
		p.list("has(", n.Args, ")")
	case OpCall:
		p.call(n)
	case OpFold:
		p.fold(n.Fold)
	default:
		p.operator(n)
	}
}

func (p *printer) input(ref int) {
	if p.inputs == nil {
		p.b.WriteString("input")
		p.b.WriteString(strconv.Itoa(ref))
		return
	}
	p.b.WriteString(p.inputs(ref))
}

func (p *printer) variable(slot int) {
	p.b.WriteByte('v')
	p.b.WriteString(strconv.Itoa(slot))
}

func memberName(n *Node) string {
	if n.Name != "" {
		return n.Name
	}
	return strconv.Itoa(n.Ref)
}

func (p *printer) list(open string, args []*Node, end string) {
	p.b.WriteString(open)
	for i, a := range args {
		if i > 0 {
			p.b.WriteString(", ")
		}
		p.node(a, bindCond)
	}
	p.b.WriteString(end)
}

func (p *printer) object(n *Node) {
	p.b.WriteByte('{')
	for i, a := range n.Args {
		if i > 0 {
			p.b.WriteString(", ")
		}
		p.b.WriteString(constText(n.Const.L[i]) + ": ")
		p.node(a, bindCond)
	}
	p.b.WriteByte('}')
}

// operator prints what is between or before its operands. All of CEL's
// two-sided operators group from the left, so the right side of an equally
// strong one needs parentheses.
func (p *printer) operator(n *Node) {
	own := binding(n)
	switch n.Op {
	case OpNot:
		p.b.WriteByte('!')
		p.node(n.Args[0], bindUnary)
	case OpNeg:
		p.b.WriteByte('-')
		p.node(n.Args[0], bindPrimary)
	case OpCond:
		p.node(n.Args[0], bindOr)
		p.b.WriteString(" ? ")
		p.node(n.Args[1], bindOr)
		p.b.WriteString(" : ")
		p.node(n.Args[2], bindCond)
	default:
		for i, a := range n.Args {
			if i == 0 && n.Op != OpAnd && n.Op != OpOr {
				p.node(a, own)
				continue
			}
			if i > 0 {
				p.b.WriteString(" " + signs[n.Op] + " ")
			}
			p.node(a, own+1)
		}
	}
}

// call prints size, the conversions and orElse as functions, the others as methods of
// their first argument, as people write them.
func (p *printer) call(n *Node) {
	switch n.Name {
	case "size", "int", "double", "string", OrElse:
		p.list(n.Name+"(", n.Args, ")")
		return
	}
	p.node(n.Args[0], bindPrimary)
	p.list("."+n.Name+"(", n.Args[1:], ")")
}

// FieldText prints the path of a stream's field as a rule names it: a key of a
// map is in quotes unless it is a name.
func FieldText(stream, path string) string {
	field, key, isKey := strings.Cut(path, ".")
	var b strings.Builder
	if stream != "" {
		b.WriteString(stream)
		b.WriteByte('.')
	}
	b.WriteString(field)
	switch {
	case !isKey:
	case isName(key):
		b.WriteByte('.')
		b.WriteString(key)
	default:
		b.WriteByte('[')
		b.WriteString(strconv.Quote(key))
		b.WriteByte(']')
	}
	return b.String()
}

func isName(s string) bool {
	for i, c := range s {
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != "" && !reserved[s]
}

// reserved are the words that CEL does not take as the name of a field.
var reserved = map[string]bool{"in": true, "true": true, "false": true, "null": true}

func constText(v Value) string {
	switch v.K {
	case Absent:
		return "null"
	case Double:
		s := strconv.FormatFloat(v.Float(), 'g', -1, 64)
		if !strings.ContainsAny(s, ".e") {
			s += ".0"
		}
		return s
	case Decimal:
		return "decimal(" + strconv.Quote(v.String()) + ")"
	case String:
		return strconv.Quote(v.S)
	case Time:
		return "timestamp(" + strconv.Quote(Millis(v.N).Time().Format(time.RFC3339Nano)) + ")"
	case Duration:
		return DurationText(Millis(v.N))
	case Date:
		return "date(" + strconv.Quote(v.String()) + ")"
	case List, Record:
		parts := make([]string, len(v.L))
		for i, e := range v.L {
			parts[i] = constText(e)
		}
		s := "[" + strings.Join(parts, ", ") + "]"
		if v.K == Record {
			s = "record" + s
		}
		return s
	default:
		return v.String()
	}
}

// DurationText prints a length of time as a rule writes it: days(90), hours(36).
func DurationText(d Millis) string {
	for _, u := range [...]struct {
		n    Millis
		name string
	}{{86_400_000, "days"}, {3_600_000, "hours"}, {60_000, "minutes"}} {
		if d != 0 && d%u.n == 0 {
			return u.name + "(" + strconv.FormatInt(int64(d/u.n), 10) + ")"
		}
	}
	sign := ""
	u := uint64(d)
	if d < 0 {
		sign, u = "-", -u
	}
	frac := ""
	if ms := u % 1000; ms != 0 {
		frac = "." + strings.TrimRight(strconv.FormatUint(1000+ms, 10)[1:], "0")
	}
	return `duration("` + sign + strconv.FormatUint(u/1000, 10) + frac + `s")`
}
