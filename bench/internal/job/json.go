package job

import (
	"encoding/json"
	"strconv"
	"time"
)

// Format says how events are written.
type Format uint8

// The formats. All say the same, so that the same changes come out.
const (
	Avro Format = iota // by the schema of the stream, in the frame of Confluent's clients
	JSON               // with the names of the schema
	Shop               // as a shop of its own would write them, for Mapping; purchases only
)

// MappingName is the name of Mapping.
const MappingName = "orders"

// Mapping is the part of a rule file that reads purchases of the format Shop.
const Mapping = `mappings:
  ` + MappingName + `:
    stream: purchase
    when: msg.status == "paid"
    map:
      event_id: id(msg.order.number, msg.status)
      customer_id: msg.customer.ref
      occurred_at: msg.order.placed
      kind: '"completed"'
      order_id: msg.order.number
      revenue: msg.order.net / 10000
      total: msg.order.gross / 10000
      currency: msg.order.currency
      channel: msg.channel
      cart_id: msg.basket
      items: 'msg.lines.map(l, {"product_id": l.ref, "category": l.path, "brand": l.maker, "quantity": l.n, "price": l.each / 10000})'
`

type object = map[string]any

// AppendText appends the event in a format that is a text. The order of names is that
// of encoding/json, and amounts are exact.
func (e *Event) AppendText(b []byte, f Format) []byte {
	var v object
	switch {
	case f == Shop:
		v = e.shop()
	case e.Stream == Web:
		v = e.web()
	case e.Stream == Email:
		v = e.email()
	default:
		v = e.purchase()
	}
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // there are only texts, numbers, lists and objects
	}
	return append(b, text...)
}

func (e *Event) head() object {
	return object{
		"event_id": "e" + strconv.Itoa(e.N), "customer_id": string(AppendCustomer(nil, e.Customer)),
		"occurred_at": time.UnixMilli(e.At).UTC().Format("2006-01-02T15:04:05.000Z"), "source": "/shop",
	}
}

func (e *Event) product() string { return string(appendPadded([]byte("p"), e.Product, 5)) }

func amount(n int64) json.Number {
	return json.Number(strconv.FormatInt(n/money, 10) + "." + string(appendPadded(nil, int(n%money), 4)))
}

func (e *Event) purchase() object {
	o := e.head()
	o["kind"], o["order_id"], o["cart_id"] = "completed", "o"+strconv.Itoa(e.N), string(appendPadded([]byte("k"), e.N, 8))
	o["revenue"], o["total"] = amount(e.Revenue), amount(e.Revenue+e.Revenue/5)
	o["currency"], o["channel"] = Currencies[e.Currency], Channels[e.Channel]
	o["items"] = []object{{
		"product_id": e.product(), "category": categories[e.Product%len(categories)], "brand": brands[e.Product%len(brands)],
		"quantity": 1, "price": amount(e.Revenue),
	}}
	return o
}

func (e *Event) web() object {
	o := e.head()
	o["name"], o["session_id"] = webNames[e.Product%len(webNames)], string(appendPadded([]byte("s"), e.N/4, 8))
	o["url"] = "https://shop.example/product/"
	o["items"] = []object{{
		"product_id": e.product(), "category": categories[e.Product%len(categories)], "quantity": 1, "price": amount(e.Revenue),
	}}
	return o
}

func (e *Event) email() object {
	o := e.head()
	o["action"] = map[byte]string{2: "sent", 6: "opened", 8: "clicked"}[emailActions[e.Product%len(emailActions)]]
	o["campaign_id"], o["template_id"] = "autumn-collection-2026", "t12"
	o["message_id"], o["machine_open"] = string(appendPadded([]byte("m"), e.N, 8)), e.Product&1 == 1
	return o
}

func (e *Event) shop() object {
	return object{
		"status": "paid", "channel": Channels[e.Channel], "basket": string(appendPadded([]byte("k"), e.N, 8)),
		"order": object{
			"number": "o" + strconv.Itoa(e.N), "placed": time.UnixMilli(e.At).UTC().Format("2006-01-02T15:04:05.000Z"),
			"net": e.Revenue, "gross": e.Revenue + e.Revenue/5, "currency": Currencies[e.Currency],
		},
		"customer": object{"ref": string(AppendCustomer(nil, e.Customer)), "tier": nil},
		"lines": []object{{
			"ref": e.product(), "path": categories[e.Product%len(categories)], "maker": brands[e.Product%len(brands)],
			"n": 1, "each": e.Revenue,
		}},
	}
}
