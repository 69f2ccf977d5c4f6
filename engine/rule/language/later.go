package language

import "slices"

// later are functions of later versions of the language, each with the nearest condition that
// can be written today, "" if none is near.
var later = map[string]string{
	"then":          `did(web.name == "product_viewed") && last(purchase) > first(web.name == "product_viewed")`,
	"not_then":      `since_last(email.action == "clicked") > days(3) && last(email.action == "clicked") > orElse(last(purchase), timestamp("1970-01-01T00:00:00Z"))`,
	"regularly":     `did(purchase, days(30)) && count(purchase, days(60)) > count(purchase, days(30))`,
	"first_time":    `since_first(purchase) < days(30)`,
	"stopped":       `did(web) && !did(web, days(30))`,
	"restarted":     `did(web, days(3)) && count(web, days(63)) == count(web, days(3)) && count(web) > count(web, days(63))`,
	"never":         `!did(purchase)`,
	"mean_gap":      `count(purchase, days(90)) >= 4`,
	"nth":           "",
	"median":        `avg(purchase.total, days(90)) > 50`,
	"most_frequent": `last(purchase.channel) == "store"`,
	"values":        `did(purchase.channel == "store")`,
	"changed":       "",
	"previous":      "",
	"was_in":        "",
	"since_entered": "",
	"entered_count": "",
	"bucket":        "",
	"distance_km":   `double(profile.traits["lat"]) > 48.6 && double(profile.traits["lat"]) < 49.1 && double(profile.traits["lon"]) > 2.0 && double(profile.traits["lon"]) < 2.7`,
	"lower":         `profile.traits["city"].matches("(?i)^(paris|lyon)$")`,
	"upper":         `profile.traits["city"].matches("(?i)^(paris|lyon)$")`,
	"replace":       "",
	"split":         "",
	"decayed_sum":   `sum(purchase.revenue, days(30)) > 100`,
	"top_percent":   `sum(purchase.revenue, days(365)) > 1000`,
	"birthday_in":   "",
	"today":         `did(web, hours(24))`,
	"this_week":     `did(web, days(7))`,
	"this_month":    `did(web, days(30))`,
	"this_year":     `did(web, days(365))`,
	"last_year":     `did(purchase, days(730)) && count(purchase, days(730)) > count(purchase, days(365))`,
	"months":        `did(purchase, days(90))`,
	"calendar_days": `did(web, days(7))`,
}

// windows are the windows of later versions, each with the nearest today; where there is a
// number in the call, for one of them.
var windows = map[string]string{
	"today": "hours(24)", "this_week": "days(7)", "this_month": "days(30)", "this_year": "days(365)",
	"months": "days(30)", "calendar_days": "days(1)",
}

// Window returns the window nearest to one of a later version, "" if the function is none.
func Window(name string) string { return windows[name] }

// kept are those whose names nothing else can have; the others came to the list when files
// could already use their names.
var kept = []string{
	"then", "not_then", "decayed_sum", "top_percent", "today", "this_week", "this_month", "calendar_days",
}

// IsLater reports whether a later version of the language has the function.
func IsLater(name string) bool {
	_, ok := later[name]
	return ok
}

// Today returns the condition nearest to a function of a later version, "" if none is near.
func Today(name string) string { return later[name] }

// Later lists the functions of later versions.
func Later() (l []string) {
	for name := range later {
		l = append(l, name)
	}
	slices.Sort(l)
	return l
}

// foreign are functions that people look for who know other languages, each with what to
// write.
var foreign = map[string]string{
	"now":        `since_last(purchase) < days(90)`,
	"years":      `did(purchase, days(365))`,
	"seconds":    `since_last(web) < duration("30s")`,
	"days_since": `since_last(purchase) > days(30)`,
	"coalesce":   `orElse(profile.country, "unknown") == "unknown"`,
	"ifnull":     `orElse(profile.country, "unknown") == "unknown"`,
	"isnull":     `!has(profile.country)`,
	"exists":     `did(purchase.items.exists(i, i.category == "shoes"))`,
	"len":        `did(size(purchase.items) > 5)`,
	"date":       `first(purchase) < timestamp("2026-01-31T00:00:00Z")`,
	"datetime":   `first(purchase) < timestamp("2026-01-31T00:00:00Z")`,
	"not":        `!did(purchase)`,
	"between":    `count(purchase) >= 2 && count(purchase) <= 5`,
	"average":    `avg(purchase.total, days(90)) > 50`,
	"mean":       `avg(purchase.total, days(90)) > 50`,
	"total":      `sum(purchase.revenue, days(90)) > 100`,
	"unique":     `distinct(web.url, days(7)) >= 5`,
	"iif":        `did(purchase) ? count(web) > 5 : count(web) > 10`,
}

// Foreign returns a condition with what a function of another language is called here, ""
// if it is not known.
func Foreign(name string) string { return foreign[name] }
