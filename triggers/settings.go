package triggers

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// The functions of this file read the values that settings of several kinds have.

const day engine.Millis = 86_400_000

// maxWait is the longest time that any trigger waits.
const maxWait = 20 * 366 * day

// delay is the setting "after": how long a trigger waits, at most so long.
func delay(most engine.Millis) plan.Setting {
	return plan.Setting{Word: "after", Read: func(text string) (expr.Value, *plan.Flaw) { return readDelay(text, most) }}
}

func readDelay(text string, most engine.Millis) (expr.Value, *plan.Flaw) {
	d, err := model.ParseDuration(strings.TrimSpace(text))
	after := engine.Millis(time.Duration(d).Milliseconds())
	switch {
	case err != nil:
		return expr.Value{}, flaw("write a number with a unit: 30m, 1h30m, 45d", "%s is not a duration", strconv.Quote(text))
	case after <= 0:
		return expr.Value{}, flaw("", "the duration must be greater than zero")
	case after > most:
		return expr.Value{}, flaw("", "the duration can be at most %s", expr.FormatDuration(most))
	}
	return expr.DurationValue(after), nil
}

// readDays reads a number of whole days, which may be negative.
func readDays(text string) (expr.Value, *plan.Flaw) {
	digits, negative := strings.CutPrefix(text, "-")
	d, err := model.ParseDuration(strings.TrimPrefix(digits, "+"))
	n := int64(time.Duration(d) / (24 * time.Hour))
	switch {
	case err != nil:
		return expr.Value{}, flaw("write a number of days: -7d, 0d, 3d", "%s is not a number of days", strconv.Quote(text))
	case time.Duration(d)%(24*time.Hour) != 0:
		return expr.Value{}, flaw(`set the time of day with at: "09:00"`, "an offset must be a whole number of days, not %s", text)
	case n > 365:
		return expr.Value{}, flaw("", "an offset can be at most 365 days")
	case negative:
		n = -n
	}
	return expr.IntValue(n), nil
}

// readClock reads a time of day, as the time since midnight.
func readClock(text string) (expr.Value, *plan.Flaw) {
	at, err := time.Parse("15:04", text)
	if err != nil || len(text) != 5 {
		return expr.Value{}, flaw(`write a local time as "09:00"`, "%s is not a time of day", strconv.Quote(text))
	}
	return expr.DurationValue(engine.Millis(at.Hour()*3_600_000 + at.Minute()*60_000)), nil
}

// readFeb29 reads what a 29 February means in common years, as whether it is 1
// March.
func readFeb29(text string) (expr.Value, *plan.Flaw) {
	names := []string{"feb_28", "mar_1"}
	if !slices.Contains(names, text) {
		return expr.Value{}, &plan.Flaw{Message: fmt.Sprintf("feb_29 must be feb_28 or mar_1, not %s", strconv.Quote(text)), Choices: names}
	}
	return expr.BoolValue(text == "mar_1"), nil
}

func flaw(remedy, format string, args ...any) *plan.Flaw {
	return &plan.Flaw{Message: fmt.Sprintf(format, args...), Remedy: remedy}
}

// always is a default that depends on nothing.
func always(v expr.Value) func(*plan.Spec) expr.Value {
	return func(*plan.Spec) expr.Value { return v }
}

// texts returns a list of texts as a value.
func texts(l []string) expr.Value {
	v := make([]expr.Value, len(l))
	for i, s := range l {
		v[i] = expr.StringValue(s)
	}
	return expr.ListValue(v)
}

// plural writes a number with its noun.
func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
