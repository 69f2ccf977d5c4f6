package expr

// fold prints a comprehension as the macro that it came from, or in its general
// form.
func (p *printer) fold(f *Fold) {
	name, parts := macro(f)
	if name == "" {
		p.b.WriteString("fold(")
		p.node(f.Range, bindCond)
		for _, part := range []*Node{variable(f.Var), variable(f.Acc), f.Init, f.While, f.Step, f.Result} {
			p.b.WriteString("; ")
			p.node(part, bindCond)
		}
		p.b.WriteByte(')')
		return
	}
	p.node(f.Range, bindPrimary)
	p.b.WriteByte('.')
	p.b.WriteString(name)
	p.list("(", append([]*Node{variable(f.Var)}, parts...), ")")
}

func variable(slot int) *Node { return &Node{Op: OpVar, Ref: slot} }

// macro recognises the comprehensions that CEL's macros expand to, and gives
// the arguments after the variable.
func macro(f *Fold) (string, []*Node) {
	acc := func(n *Node) bool { return n.Op == OpVar && n.Ref == f.Acc }
	switch {
	case isBool(f.Init, false) && acc(f.Result) && f.Step.Op == OpOr && f.While.Op == OpNot && acc(f.While.Args[0]):
		return "exists", others(f.Step, acc)
	case isBool(f.Init, true) && acc(f.Result) && f.Step.Op == OpAnd && acc(f.While):
		return "all", others(f.Step, acc)
	case !isBool(f.While, true):
		return "", nil
	case isInt(f.Init, 0) && f.Result.Op == OpEq && acc(f.Result.Args[0]) && isInt(f.Result.Args[1], 1) && counts(f.Step, acc):
		return "exists_one", f.Step.Args[:1]
	case !isEmpty(f.Init) || !acc(f.Result):
		return "", nil
	}
	step, conds := f.Step, []*Node(nil)
	if step.Op == OpCond && acc(step.Args[2]) {
		step, conds = step.Args[1], step.Args[:1]
	}
	elem := added(step, acc)
	switch {
	case elem == nil:
		return "", nil
	case conds != nil && elem.Op == OpVar && elem.Ref == f.Var:
		return "filter", conds
	}
	return "map", append(conds[:len(conds):len(conds)], elem)
}

// others returns what is joined to the accumulator, as one node.
func others(step *Node, acc func(*Node) bool) []*Node {
	var rest []*Node
	for _, a := range step.Args {
		if !acc(a) {
			rest = append(rest, a)
		}
	}
	if len(rest) == 1 {
		return rest
	}
	return []*Node{{Op: step.Op, Type: Bool, Args: rest}}
}

// counts reports whether step is cond ? acc + 1 : acc.
func counts(step *Node, acc func(*Node) bool) bool {
	if step.Op != OpCond || !acc(step.Args[2]) {
		return false
	}
	plus := step.Args[1]
	return plus.Op == OpAdd && acc(plus.Args[0]) && isInt(plus.Args[1], 1)
}

// added returns x of acc + [x], or nil.
func added(step *Node, acc func(*Node) bool) *Node {
	if step.Op != OpAdd || !acc(step.Args[0]) {
		return nil
	}
	switch l := step.Args[1]; {
	case l.Op == OpList && len(l.Args) == 1:
		return l.Args[0]
	case l.Op == OpConst && l.Const.K == List && len(l.Const.L) == 1:
		v := l.Const.L[0]
		return &Node{Op: OpConst, Type: v.K, Const: v}
	}
	return nil
}

func isBool(n *Node, b bool) bool {
	return n.Op == OpConst && n.Const.K == Bool && (n.Const.N != 0) == b
}

func isInt(n *Node, i int64) bool {
	return n.Op == OpConst && n.Const.K == Int && n.Const.N == i
}

func isEmpty(n *Node) bool {
	return n.Op == OpList && len(n.Args) == 0 || n.Op == OpConst && n.Const.K == List && len(n.Const.L) == 0
}
