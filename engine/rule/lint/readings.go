package lint

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule/canon"
	"github.com/segmill/segmill/engine/rule/file"
)

// Comparison warns of a comparison that reads other than it works: texts by their letters,
// whole numbers that were divided, the first value where the first event is meant.
func (l *Linter) Comparison(at file.Place, n *expr.Node) {
	l.byLetters(at, n)
	for i, side := range n.Args {
		if d := wholeDivision(side); d != nil && n.Args[1-i].Type == expr.Double {
			instead := *d
			instead.Type = expr.Double
			instead.Args = []*expr.Node{{Op: expr.OpCall, Type: expr.Double, Name: "double", Args: d.Args[:1]}, d.Args[1]}
			l.Log.Warn(at, file.WholeDivision.Hint("write "+l.text(replaced(n, d, &instead))), "%s is a whole number: the fraction is cut off", l.text(d))
			return
		}
	}
	l.firstValue(at, n)
}

// wholeDivision finds a division of whole numbers in a sum or product.
func wholeDivision(n *expr.Node) *expr.Node {
	switch n.Op {
	case expr.OpDiv:
		if n.Type == expr.Int {
			return n
		}
	case expr.OpAdd, expr.OpSub, expr.OpMul, expr.OpNeg:
	default:
		return nil
	}
	for _, a := range n.Args {
		if d := wholeDivision(a); d != nil {
			return d
		}
	}
	return nil
}

// byLetters warns of < and > between texts.
func (l *Linter) byLetters(at file.Place, n *expr.Node) {
	a, b := n.Args[0], n.Args[1]
	if n.Op < expr.OpLt || n.Op > expr.OpGe || a.Type != expr.String || b.Type != expr.String {
		return
	}
	hint := "declare the field with another type than text, such as number or date"
	if b.Op == expr.OpConst {
		if f, err := strconv.ParseFloat(b.Const.S, 64); err == nil {
			number := canon.Const(expr.DoubleValue(f))
			as := &expr.Node{Op: expr.OpCall, Type: expr.Double, Name: "double", Args: []*expr.Node{a}}
			hint = "write " + l.text(&expr.Node{Op: n.Op, Type: expr.Bool, Args: []*expr.Node{as, number}}) + ", or declare the field as a number"
		}
	}
	l.Log.Warn(at, file.TextOrder.Hint(hint), `texts are compared letter by letter: "10" is less than "9"`)
}

// firstValue warns of the value of the earliest event that has one, which need not be the
// earliest event.
func (l *Linter) firstValue(at file.Place, n *expr.Node) {
	in := l.input(n.Args[0])
	if in == nil || in.Kind != plan.InAggregate || in.Agg.Name != "first" || in.Field == "" || len(in.Sources) != 1 || n.Args[1].Op != expr.OpConst {
		return
	}
	s := in.Sources[0]
	t := l.Spec.Catalog.TypeOf(s.Stream, in.Field)
	if t != nil && !t.Optional && !strings.Contains(in.Field, ".") {
		return
	}
	field := &expr.Node{Op: expr.OpField, Type: in.Type, Name: l.Spec.Streams().Name(s.Stream), Path: in.Field}
	is := &expr.Node{Op: n.Op, Type: expr.Bool, Args: []*expr.Node{field, n.Args[1]}}
	if n.Op == expr.OpNe && n.Args[1].Const.S == "" {
		is = &expr.Node{Op: expr.OpHas, Type: expr.Bool, Args: []*expr.Node{field}}
	}
	all := l.eventsText(s.Stream, s.Cond)
	those := is.Text(nil)
	if all != field.Name {
		those = canon.Join(expr.OpAnd, nil, s.Cond, is).Text(nil)
	}
	l.Log.Warn(at, file.FirstValue.Hint("if the first one is meant, write "+withKeys("first("+those+") == first("+all+")")),
		"%s is that of the earliest event that has a value, which need not be the first one", in.Text)
}

var (
	soleKeyForm = regexp.MustCompile(`\b(did|first)\(has\(([a-z_.0-9]+)\[("(?:[^"\\]|\\.)*")\]\)([,)])`)
	keyForm     = regexp.MustCompile(`\bhas\(([a-z_.0-9]+)\[("(?:[^"\\]|\\.)*")\]\)`)
)

// withKeys asks for the keys of maps as rules do: has takes only those that are names.
func withKeys(text string) string {
	return keyForm.ReplaceAllString(soleKeyForm.ReplaceAllString(text, "$1($3 in $2$4"), "($2 in $1)")
}

// Part warns of a part of a time, such as its hour, in UTC where the rules have another zone.
func (l *Linter) Part(at file.Place, name string) {
	if l.Spec.Zone != "UTC" {
		l.Log.Warn(at, file.UTCParts.Hint("write "+name+"("+strconv.Quote(l.Spec.Zone)+`), or `+name+`("UTC")`), "%s() is in UTC, and the default time zone is %s", name, l.Spec.Zone)
	}
}

// input returns the input that a node is, nil if it is none.
func (l *Linter) input(n *expr.Node) *plan.Input {
	if n.Op != expr.OpInput {
		return nil
	}
	return &l.Spec.Inputs[n.Ref]
}

// eventsText prints which events are meant, as short as rules have it.
func (l *Linter) eventsText(s plan.Stream, cond *expr.Node) string {
	plain := canon.Narrowed(s, nil, false).Cond
	if cond == nil || plain != nil && canon.Text(plain) == canon.Text(cond) {
		return l.Spec.Streams().Name(s)
	}
	return canon.Text(cond)
}

// consent warns of consent for mail in a condition that says nothing of those who
// unsubscribed. It looks at conditions that need consent, not at those that need none.
func (l *Linter) consent(at file.Place, root *expr.Node) {
	needed, cared := false, false
	canon.Walk(root, func(n *expr.Node) {
		in := l.input(n)
		switch {
		case n.Op == expr.OpNot && l.input(n.Args[0]) != nil && l.input(n.Args[0]).Kind == plan.InConsent:
			cared = true
		case in == nil:
		case in.Kind == plan.InConsent:
			needed = needed || in.Channel == "email" && in.Purpose == "marketing"
		default:
			cared = cared || strings.Contains(in.Text, `"unsubscribed"`)
		}
	})
	if needed && !cared {
		l.Log.Warn(at, file.ConsentAlone.Hint(`add && !did(email.action in ["unsubscribed", "complained"])`),
			"consented() does not know who unsubscribed or complained in the stream email")
	}
}
