package job

import "encoding/binary"

// Decoded is what the rules need of an event. Slices point into the record.
type Decoded struct {
	ID, Customer, Source []byte
	Channel, Currency    []byte
	At, Revenue          int64 // ms; 1/10000 of the currency
}

// Decode reads a framed PurchaseEvent of the one schema that the workload is written
// with: a walk over all fields, without allocation. It returns false for bytes that
// do not follow the schema.
func Decode(b []byte, d *Decoded) bool {
	if len(b) < 5 || b[0] != 0 {
		return false
	}
	w := walk{b: b, i: 5}
	d.ID = w.bytes()
	d.Customer = w.optional()
	w.optional() // anonymous_id
	d.At = w.long()
	if w.present() { // received_at
		w.long()
	}
	d.Source = w.bytes()
	w.long()  // kind
	w.bytes() // order_id
	d.Revenue = decimal(w.bytes())
	w.optional() // total
	w.optional() // discount
	d.Currency = w.bytes()
	w.optional() // coupon
	d.Channel = w.optional()
	w.optional() // cart_id
	for n := w.block(); n > 0; n = w.block() {
		for ; n > 0 && !w.bad; n-- {
			w.bytes()    // product_id
			w.optional() // sku
			w.optional() // name
			w.optional() // category
			w.optional() // brand
			w.long()     // quantity
			w.optional() // price
		}
	}
	for n := w.block(); n > 0; n = w.block() {
		for ; n > 0 && !w.bad; n-- {
			w.bytes()
			w.bytes()
		}
	}
	return !w.bad && w.i == len(b)
}

// walk reads Avro's binary encoding. Once it is bad everything it returns is empty.
type walk struct {
	b   []byte
	i   int
	bad bool
}

func (w *walk) long() int64 {
	if w.i < len(w.b) && w.b[w.i] < 0x80 {
		u := w.b[w.i]
		w.i++
		return int64(u>>1) ^ -int64(u&1)
	}
	if w.i > len(w.b) {
		return 0
	}
	v, n := binary.Varint(w.b[w.i:])
	if n <= 0 {
		w.fail()
		return 0
	}
	w.i += n
	return v
}

func (w *walk) fail() { w.bad, w.i = true, len(w.b)+1 }

func (w *walk) bytes() []byte {
	n := w.long()
	if w.bad || n < 0 || n > int64(len(w.b)-w.i) {
		w.fail()
		return nil
	}
	s := w.b[w.i : w.i+int(n)]
	w.i += int(n)
	return s
}

// present reads the branch of a union with null.
func (w *walk) present() bool {
	switch w.long() {
	case 0:
		return false
	case 1:
		return !w.bad
	}
	w.fail()
	return false
}

func (w *walk) optional() []byte {
	if w.present() {
		return w.bytes()
	}
	return nil
}

// block returns how many elements follow, 0 at the end of a list.
func (w *walk) block() int64 {
	n := w.long()
	if n < 0 {
		w.long() // the block's size in bytes
		n = -n
	}
	if w.bad {
		return 0
	}
	return n
}

// decimal reads a two's complement, highest byte first.
func decimal(b []byte) int64 {
	var n int64
	for i, c := range b {
		if i == 0 {
			n = int64(int8(c))
			continue
		}
		n = n<<8 | int64(c)
	}
	return n
}
