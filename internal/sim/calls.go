package sim

import (
	"math"
	"strconv"
	"time"

	"github.com/segmill/segmill/engine/expr"
)

// moreCalls are conversions and the parts of an instant; absent if there is no
// such function, or if it is in error.
func moreCalls(name string, a []expr.Value) expr.Value {
	v := a[0]
	switch name {
	case "double":
		if f, err := strconv.ParseFloat(v.S, 64); v.K == expr.String {
			if err != nil || math.IsInf(f, 0) {
				return expr.Value{}
			}
			return expr.DoubleValue(f)
		}
		return expr.DoubleValue(v.Float())
	case "int":
		if n, err := strconv.ParseInt(v.S, 10, 64); v.K == expr.String {
			if err != nil {
				return expr.Value{}
			}
			return expr.IntValue(n)
		}
		if v.K == expr.Int {
			return v
		}
		return expr.IntValue(int64(v.Float()))
	}
	at := time.UnixMilli(v.N).UTC()
	if v.K == expr.Date {
		at = time.Unix(v.N*86_400, 0).UTC()
	}
	if len(a) == 2 {
		zone, err := time.LoadLocation(a[1].S)
		if err != nil {
			return expr.Value{}
		}
		at = at.In(zone)
	}
	part, ok := map[string]int{
		"getFullYear": at.Year(), "getMonth": int(at.Month()) - 1, "getDate": at.Day(), "getDayOfMonth": at.Day() - 1,
		"getDayOfWeek": int(at.Weekday()), "getDayOfYear": at.YearDay() - 1, "getHours": at.Hour(),
		"getMinutes": at.Minute(), "getSeconds": at.Second(), "getMilliseconds": at.Nanosecond() / 1_000_000,
	}[name]
	if !ok {
		panic("sim: no function " + name)
	}
	return expr.IntValue(int64(part))
}
