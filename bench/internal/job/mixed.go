package job

import (
	"encoding/binary"
	"strconv"
)

// Stream says what kind of event one is.
type Stream uint8

// The streams of a mixed workload; a plain one has purchases only.
const (
	Purchase Stream = iota
	Web
	Email
	numStreams
)

// StreamNames are the names of the streams in a configuration, Schemas those of their
// schemas: always the first versions, so that the workload stays what it was.
var (
	StreamNames = [numStreams]string{"purchase", "web", "email"}
	Schemas     = [numStreams]string{"history/purchase_event.v1", "history/web_event.v1", "history/email_event.v1"}
)

// Mixed are rules over web and email, for beside Ten.
var Mixed = []Rule{
	{ID: "browser", When: `count(web.name == "product_viewed", days(7)) >= 2`},
	{ID: "clicker", When: `count(email.action == "clicked", days(30)) >= 2`},
	{ID: "looker", When: "did(web, days(7)) && " + count + " == 0"},
	{ID: "reader", When: `count(email.action == "opened" && !email.machine_open, days(30)) >= 2`},
}

var (
	webNames     = [...]string{"product_viewed", "page_viewed", "product_added", "product_viewed"}
	emailActions = [...]byte{2, 6, 6, 8} // sent, opened twice, clicked: zigzag of their index
)

// appendWeb appends a WebEvent: 100 to 140 bytes.
func (e *Event) appendWeb(b []byte) []byte {
	var buf [24]byte
	b = e.appendHead(b)
	b = appendString(b, webNames[e.Product%len(webNames)])
	b = appendBytes(append(b, 2), appendPadded(append(buf[:0], 's'), e.N/4, 8)) // session_id
	b = append(b, 0)                                                            // cart_id
	b = appendString(append(b, 2), "https://shop.example/product/")
	b = append(b, 0, 0, 0, 0, 0, 0) // referrer, utm_source, utm_medium, utm_campaign, value, currency
	b = append(b, 2)                // items: one
	b = appendBytes(b, appendPadded(append(buf[:0], 'p'), e.Product, 5))
	b = append(b, 0, 0)
	b = appendString(append(b, 2), categories[e.Product%len(categories)])
	b = append(b, 0, 2) // brand, quantity
	b = appendDecimal(append(b, 2), e.Revenue)
	return append(b, 0, 0) // end of items, no attributes
}

// appendEmail appends an EmailEvent: 70 to 100 bytes.
func (e *Event) appendEmail(b []byte) []byte {
	var buf [24]byte
	b = e.appendHead(b)
	b = append(b, emailActions[e.Product%len(emailActions)])
	b = appendString(b, "autumn-collection-2026")
	b = appendBytes(append(b, 2), appendPadded(append(buf[:0], 'm'), e.N, 8)) // message_id
	b = appendString(append(b, 2), "t12")                                     // template_id
	b = append(b, 0)                                                          // link_url
	return append(b, byte(e.Product&1), 0)                                    // machine_open, no attributes
}

// appendHead appends what all events begin with.
func (e *Event) appendHead(b []byte) []byte {
	var buf [24]byte
	b = appendBytes(b, strconv.AppendInt(append(buf[:0], 'e'), int64(e.N), 10))
	b = appendBytes(append(b, 2), AppendCustomer(buf[:0], e.Customer))
	b = append(b, 0) // anonymous_id
	b = binary.AppendVarint(b, e.At)
	b = append(b, 0) // received_at
	return appendString(b, "/shop")
}
