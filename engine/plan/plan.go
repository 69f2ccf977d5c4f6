package plan

// Plan is a compiled Spec.
type Plan struct{}

// Compile turns a checked Spec into a Plan.
func Compile(s *Spec) (*Plan, error) { panic("stub") }
