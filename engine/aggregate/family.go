package aggregate

// Family is a kind of summary. Families are compared by their pointers; a new one is
// declared beside its arithmetic.
type Family struct {
	name string // part of the text that stored summaries are hashed by: it does not change
	make func() Cell
	// register: the summary is a Register.
	register bool
	// bounded: what is older than the reach is dropped.
	bounded bool
	// texts: it can keep texts of events.
	texts bool
}

// The families.
var (
	FamCount     = &Family{name: "count", make: func() Cell { return new(Count) }}
	FamSum       = &Family{name: "sum", make: func() Cell { return new(Sum) }} // and the number of values
	FamMin       = &Family{name: "min", make: func() Cell { return new(Extreme) }}
	FamMax       = &Family{name: "max", make: func() Cell { return &Extreme{greatest: true} }}
	FamFirstTime = &Family{name: "firsttime", make: func() Cell { return new(Moment) }}
	FamLastTime  = &Family{name: "lasttime", make: func() Cell { return &Moment{latest: true} }}
	FamFirst     = &Family{name: "first", register: true, texts: true, make: func() Cell { return new(Register) }}
	FamLast      = &Family{name: "last", register: true, texts: true, make: newest}
	FamAnchor    = &Family{name: "anchor", register: true, texts: true, make: newest} // without a value: the latest event itself
	FamList      = &Family{name: "list", bounded: true, make: func() Cell { return &List{From: None} }}
	FamDistinct  = &Family{name: "distinct", make: func() Cell { return &Distinct{From: None} }} // of all time
	FamRecent    = &Family{name: "recent", bounded: true, make: func() Cell { return &Distinct{From: None, timed: true} }}
	FamCart      = &Family{name: "cart", bounded: true, texts: true, make: func() Cell { return &Cart{Cleared: None} }}
)

func newest() Cell { return &Register{latest: true} }

// String returns the family's name.
func (f *Family) String() string { return f.name }

// IsRegister reports whether the summaries of the family are Registers.
func (f *Family) IsRegister() bool { return f.register }

// Bounded reports whether a summary drops what is older than its reach.
func (f *Family) Bounded() bool { return f.bounded }

// KeepsTexts reports whether a summary can keep texts of events.
func (f *Family) KeepsTexts() bool { return f.texts }

// New returns an empty summary.
func (f *Family) New() Cell { return f.make() }

// Read reads a summary that takes all of r's bytes. The calls are not through the
// interface where they can be, so that r need not be allocated.
func (f *Family) Read(r *Reader) (Cell, error) {
	c := f.make()
	switch c := c.(type) {
	case *Count:
		c.decode(r)
	case *Sum:
		c.decode(r)
	case *Extreme:
		c.decode(r)
	case *Moment:
		c.decode(r)
	case *Register:
		c.decode(r)
	case *List:
		c.decode(r)
	case *Distinct:
		c.decode(r)
	case *Cart:
		c.decode(r)
	default:
		own := *r
		c.decode(&own)
		*r = own
	}
	if !r.Done() {
		return nil, ErrFormat
	}
	return c, nil
}
