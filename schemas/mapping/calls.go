package mapping

import (
	"encoding/base64"
	"strings"
	"time"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/schemas/scalar"
)

// calls are the functions of mappings beside those of rules. What they cannot make
// anything of is absent.
func (r *Runner) calls() map[string]func(*expr.Env, []expr.Value) expr.Value {
	return map[string]func(*expr.Env, []expr.Value) expr.Value{
		"id": id, "json": r.json, "pair": r.pair, "minor": minor, "epoch_days": epochDays, "decimal64": decimal64,
	}
}

// id joins parts to an id, so that other parts are another id: a colon in a part is
// doubled. It is absent if a part is.
func id(_ *expr.Env, parts []expr.Value) expr.Value {
	var b strings.Builder
	for i, p := range parts {
		if i > 0 {
			b.WriteByte(':')
		}
		text, ok := digits(p)
		if !ok || text == "" {
			return expr.Value{}
		}
		if len(parts) > 1 {
			text = strings.ReplaceAll(text, ":", "::")
		}
		b.WriteString(text)
	}
	return expr.StringValue(b.String())
}

// digits returns the text of a text or number; false if the value is neither.
func digits(v expr.Value) (string, bool) {
	switch v.K {
	case expr.String, expr.Int, expr.Number, expr.Double:
		return v.Digits(), true
	}
	return "", false
}

// json reads a text that is JSON.
func (r *Runner) json(e *expr.Env, args []expr.Value) expr.Value {
	if args[0].K != expr.String || !e.Spend(1+len(args[0].S)/64) || len(r.docs.list) >= maxDocuments {
		return expr.Value{}
	}
	v, err := r.docs.add([]byte(args[0].S))
	if err != nil {
		return expr.Value{}
	}
	return v
}

// maxDocuments is how many texts of a record are read as JSON.
const maxDocuments = 2_000

// pair finds the value of a key in a list of objects with the members key or name, and
// value. A value that is an object with one typed value, as Google writes it, is that.
func (r *Runner) pair(e *expr.Env, args []expr.Value) expr.Value {
	list, key := args[0], args[1]
	if list.K != expr.List || key.K != expr.String {
		return expr.Value{}
	}
	for _, o := range list.L {
		if !e.Spend(1) {
			break
		}
		name := r.docs.member(o, "key")
		if !name.Present() {
			name = r.docs.member(o, "name")
		}
		if name.K == expr.String && name.S == key.S {
			return r.typed(r.docs.member(o, "value"))
		}
	}
	return expr.Value{}
}

// typed returns the one value of an object such as {"string_value": "x"}.
func (r *Runner) typed(v expr.Value) expr.Value {
	if v.K != expr.Object {
		return v
	}
	for _, name := range []string{"string_value", "int_value", "float_value", "double_value"} {
		if t := r.docs.member(v, name); t.Present() {
			return t
		}
	}
	return expr.Value{}
}

// minorDigits are the currencies whose smallest unit is not a hundredth (ISO 4217, as
// payment providers count).
var minorDigits = map[string]int{
	"BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "JPY": 0, "KMF": 0, "KRW": 0, "MGA": 0, "PYG": 0, "RWF": 0,
	"UGX": 0, "VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0,
	"BHD": 3, "JOD": 3, "KWD": 3, "OMR": 3, "TND": 3,
}

// minor returns an amount in the smallest unit of a currency as an amount of it, exactly.
func minor(_ *expr.Env, args []expr.Value) expr.Value {
	text, ok := digits(args[0])
	if !ok || args[1].K != expr.String {
		return expr.Value{}
	}
	places, other := minorDigits[strings.ToUpper(args[1].S)]
	if !other {
		places = 2
	}
	return shift(text, places)
}

// shift moves the point of a whole number in digits to the left.
func shift(text string, places int) expr.Value {
	sign := ""
	if rest, ok := strings.CutPrefix(text, "-"); ok {
		sign, text = "-", rest
	}
	if text == "" || len(text) > 30 || strings.Trim(text, "0123456789") != "" {
		return expr.Value{}
	}
	if places == 0 {
		return expr.NumberValue(sign + strings.TrimLeft(text[:len(text)-1], "0") + text[len(text)-1:])
	}
	for len(text) <= places {
		text = "0" + text
	}
	whole := strings.TrimLeft(text[:len(text)-places-1], "0") + text[len(text)-places-1:len(text)-places]
	return expr.Value{K: expr.Number, S: sign + whole + "." + text[len(text)-places:]}
}

// epochDays returns the date that is so many days after 1970-01-01.
func epochDays(_ *expr.Env, args []expr.Value) expr.Value {
	if args[0].K != expr.Int || args[0].N < -1_000_000 || args[0].N > 1_000_000 {
		return expr.Value{}
	}
	return expr.StringValue(time.Unix(args[0].N*86_400, 0).UTC().Format(time.DateOnly))
}

// decimal64 reads a decimal that is written in base64: the bytes of a whole number of
// units of 10^-scale, big-endian, in two's complement, as Kafka Connect writes them.
func decimal64(_ *expr.Env, args []expr.Value) expr.Value {
	if args[0].K != expr.String || args[1].K != expr.Int || args[1].N < 0 || args[1].N > maxScale {
		return expr.Value{}
	}
	b, err := base64.StdEncoding.DecodeString(args[0].S)
	if err != nil || len(b) == 0 || len(b) > scalar.MaxDecimalBytes {
		return expr.Value{}
	}
	return expr.NumberValue(string(scalar.AppendDecimalBytes(nil, b, int(args[1].N))))
}

// maxScale is the greatest scale of a decimal.
const maxScale = 76
