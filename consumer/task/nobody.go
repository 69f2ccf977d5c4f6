package task

import (
	"strings"

	"github.com/segmill/segmill/consumer/feed"
)

// nobody is what a batch has of erasures of customers of whom nothing was known.
type nobody struct {
	n int
	// Of the first one, or of the first one that is known under another form.
	topic     string
	partition int32
	offset    int64
	form      string // the other form in words, "" if there is none
}

// noteNobody notes an erasure of somebody who is not known, and looks for the same id in
// another form: the erasure was then meant for that customer, who is not erased by a guess.
func (s *session) noteNobody(h *feed.Head) error {
	form, err := s.otherForm(h.Ev.Customer)
	if err != nil {
		return err
	}
	b := &s.batch.nobody
	if b.n++; b.n == 1 || b.form == "" && form != "" {
		b.topic, b.partition, b.offset, b.form = h.From.Topic, h.From.Partition, h.From.Offset, form
	}
	return nil
}

// otherForm says in which other form the id names a customer whose state is here, ""
// if in none. The answer does not quote the id, since it is logged.
func (s *session) otherForm(id string) (string, error) {
	const anonymous = "anon:"
	visitor, isVisitor := strings.CutPrefix(id, anonymous)
	for _, f := range []struct{ id, form string }{
		{anonymous + id, "with anon: in front, as a visitor"},
		{visitor, "without anon: in front"},
		{strings.Trim(strings.TrimSpace(id), `"'`), "without quotes and blanks around it"},
		{strings.ToLower(id), "in lower case"},
		{strings.ToUpper(id), "in upper case"},
	} {
		if f.id == id || f.id == "" || isVisitor && strings.HasPrefix(f.id, anonymous+anonymous) || s.route.Partition(f.id) != s.t.Partition {
			continue
		}
		e, err := s.customers.Get(f.id)
		if err != nil {
			return "", err
		}
		if e.C.Known() {
			return f.form, nil
		}
	}
	return "", nil
}

// warn logs a committed batch's erasures of nobody in one line.
func (n *nobody) warn(s *session) {
	if n.n == 0 {
		return
	}
	l := s.t.log.With("count", n.n, "topic", n.topic, "input_partition", n.partition, "offset", n.offset)
	if n.form != "" {
		l.Warn("a customer who is not known was to be erased, but one is known by this id in another form, who was not erased", "form", n.form)
		return
	}
	l.Warn("a customer who is not known was to be erased; is the key of the tombstone the customer's id?")
}
