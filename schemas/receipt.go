package schemas

import (
	"encoding/json"

	"github.com/linkedin/goavro/v2"
)

// Receipts reads receipts of erasures.
type Receipts struct{ codec *goavro.Codec }

// NewReceipts returns a reader of receipts in either format.
func NewReceipts() (*Receipts, error) {
	text, err := Text(MembershipChange)
	if err != nil {
		return nil, err
	}
	c, err := goavro.NewCodec(text)
	return &Receipts{c}, err
}

// Known returns what the value of a receipt says of whether anything was known of
// the customer. said is false if it says nothing, as those of version 0.1.0.
func (r *Receipts) Known(value []byte) (known, said bool) {
	if len(value) > 5 && value[0] == 0 {
		v, _, err := r.codec.NativeFromBinary(value[5:])
		if err != nil {
			return false, false // of the first version of the schema, which ends sooner
		}
		m, _ := v.(map[string]any)
		branch, _ := m["known"].(map[string]any)
		known, said = branch["boolean"].(bool)
		return known, said
	}
	var v struct {
		Known *bool `json:"known"`
	}
	if err := json.Unmarshal(value, &v); err != nil || v.Known == nil {
		return false, false
	}
	return *v.Known, true
}
