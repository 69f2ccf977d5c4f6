package frame

import (
	"time"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/schemas/bad"
)

// Settings are how the records of one input are read.
type Settings struct {
	// Zone is where times without one are from; nil: such times are refused.
	Zone *time.Location
	// Strict makes a refused field of the schema a dead letter.
	Strict bool
	// NotIDs are texts that are no ids, beside those that never are.
	NotIDs []string
	// Earliest is the earliest event time that is believed.
	Earliest expr.Millis
	// Currency is the default one, which others are converted to; "": amounts are taken
	// as they are.
	Currency string
	Rates    map[string]expr.Rate
}

// Refuse makes a field absent because of what is wrong with its value, and notes that.
// A field that no event can be without is returned as the fault of the whole record; that
// of an anonymous id is the record's only if no other id names the customer.
func (f *Frame) Refuse(fd *Field, dst *Cell, e *bad.Input) *bad.Input {
	if fd.Vital {
		if fd.IsID {
			e.Cause = bad.Identity
		}
		if fd.Place == f.Target.Slots+HeadAnonymous {
			f.visitor, *dst = e, Cell{}
			return nil
		}
		return e
	}
	if fd.Role == Element { // it is the fault of the list
		f.textFault, *dst = e, Cell{}
		return nil
	}
	own := f.Target.isOwn(fd)
	if f.settings.Strict && !fd.Loose && !fd.Declared && !own {
		return e
	}
	*dst = Cell{}
	if fd.Symbols != nil {
		*dst = fd.Values[0]
	}
	if fd.Role == Quantity || fd.Role == Amount {
		dst.N = refused
	}
	if own { // whether the event is about a product is not known yet
		f.ownFaults = append(f.ownFaults, e)
		return nil
	}
	f.Note(e.Note(fd.Label))
	return nil
}

// noteOwn notes what is wrong with the fields of the event's own product, now that it is
// known to be about one.
func (f *Frame) noteOwn() *bad.Input {
	for _, e := range f.ownFaults {
		if f.settings.Strict {
			return e
		}
		f.Note(e.Note(e.Field))
	}
	return nil
}

// refused marks an absent cell of an item as one that was refused, until the end of the
// item.
const refused = 1

// Note notes something about the record.
func (f *Frame) Note(n bad.Note) { f.notes = append(f.notes, n) }

// Notes returns what there is to say of the record; it is valid until the next one.
func (f *Frame) Notes() []bad.Note { return f.notes }
