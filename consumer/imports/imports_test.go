package imports

import (
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestMark(t *testing.T) {
	m := &Mark{Import: ID(7), At: 1_700_000_000_000, Records: 3, Topics: map[string]Range{"events.purchase": {Records: 3, First: 1, Last: 2}}}
	r := m.Record("shop.history", 2)
	got, err := MarkOf(r)
	if err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("%+v, %v; want %+v", got, err, m)
	}
	if id := IDOf(r); id != "0000000000000007" {
		t.Errorf("the ID is %q", id)
	}
	next := &Mark{Import: ID(8), Earlier: m.Before()}
	if !next.Has(ID(7)) || !next.Has(ID(8)) || next.Has(ID(9)) || (*Mark)(nil).Has(ID(7)) || (*Mark)(nil).Before() != nil {
		t.Errorf("%+v", next)
	}
	r.Value = []byte("{}")
	if _, err := MarkOf(r); err == nil {
		t.Error("a mark of another import is read")
	}
	event := &kgo.Record{Key: []byte("import"), Value: []byte("{}"), Headers: []kgo.RecordHeader{{Key: HeaderImport, Value: []byte(ID(7))}, {Key: "segmill.topic"}}}
	if got, err := MarkOf(event); got != nil || err != nil {
		t.Errorf("an event of a customer with that id is %+v, %v", got, err)
	}
}
