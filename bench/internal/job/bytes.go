package job

import (
	"encoding/binary"
	"strconv"
)

// AppendCustomer appends the id of a customer, which is also the key of a record.
func AppendCustomer(b []byte, customer int) []byte { return appendPadded(append(b, 'c'), customer, 7) }

// appendPadded appends n with zeros in front, up to a width.
func appendPadded(b []byte, n, width int) []byte {
	p := 1
	for range width - 1 {
		p *= 10
	}
	for ; p > 1 && n < p; p /= 10 {
		b = append(b, '0')
	}
	return strconv.AppendInt(b, int64(n), 10)
}

var (
	categories = [...]string{"shoes/running", "shoes/trail", "shirts/men", "shirts/women", "bags/small", "bags/travel"}
	brands     = [...]string{"acme", "borealis", "corvid", "dune"}
)

// Append appends the event in Avro, by the schema of its stream, in the frame of
// Confluent's clients.
func (e *Event) Append(b []byte, schemaID int) []byte {
	b = binary.BigEndian.AppendUint32(append(b, 0), uint32(schemaID))
	switch e.Stream {
	case Web:
		return e.appendWeb(b)
	case Email:
		return e.appendEmail(b)
	default:
		return e.appendPurchase(b)
	}
}

// appendPurchase appends a PurchaseEvent: 100 to 140 bytes.
func (e *Event) appendPurchase(b []byte) []byte {
	var buf [24]byte
	b = e.appendHead(b)
	b = append(b, 2) // kind: completed
	b = appendBytes(b, strconv.AppendInt(append(buf[:0], 'o'), int64(e.N), 10))
	b = appendDecimal(b, e.Revenue)
	b = appendDecimal(append(b, 2), e.Revenue+e.Revenue/5) // total
	b = append(b, 0)                                       // discount
	b = appendString(b, Currencies[e.Currency])
	b = append(b, 0) // coupon
	b = appendString(append(b, 2), Channels[e.Channel])
	b = appendBytes(append(b, 2), appendPadded(append(buf[:0], 'k'), e.N, 8)) // cart_id
	b = append(b, 2)                                                          // items: one
	b = appendBytes(b, appendPadded(append(buf[:0], 'p'), e.Product, 5))
	b = append(b, 0, 0) // sku, name
	b = appendString(append(b, 2), categories[e.Product%len(categories)])
	b = appendString(append(b, 2), brands[e.Product%len(brands)])
	b = append(b, 2) // quantity: 1
	b = appendDecimal(append(b, 2), e.Revenue)
	return append(b, 0, 0) // end of items, no attributes
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendVarint(b, int64(len(s))), s...)
}

func appendBytes(b, s []byte) []byte {
	return append(binary.AppendVarint(b, int64(len(s))), s...)
}

// appendDecimal appends n, which is not negative, as Avro's decimal: the fewest
// bytes of its two's complement, highest first.
func appendDecimal(b []byte, n int64) []byte {
	size := 1
	for n>>(8*size-1) != 0 {
		size++
	}
	b = append(b, byte(2*size))
	for size--; size >= 0; size-- {
		b = append(b, byte(n>>(8*size)))
	}
	return b
}
