package language

// instead is what the schemas have in the place of a field or of events that people look for.
var instead = map[string]string{
	"profile.age":      "age(profile.birth_date)",
	"profile.birthday": "profile.birth_date",
	"profile.dob":      "profile.birth_date",
	"profile.locale":   "profile.language",
	"purchase.amount":  "purchase.revenue",
	"purchase.price":   "purchase.revenue",
	"purchase.status":  "purchase.kind",
	"purchase.type":    "purchase.kind",
	"purchase.time":    "purchase.occurred_at",
	"purchase.date":    "purchase.occurred_at",
	"email.event":      "email.action",
	"email.name":       "email.action",
	"email.status":     "email.action",
	"email.type":       "email.action",
	"email.campaign":   "email.campaign_id",
	"web.event":        "web.name",
	"web.action":       "web.name",
	"web.type":         "web.name",
	"web.page":         "web.url",
	"web.path":         "web.url",
	"web.campaign":     "web.utm_campaign",
	"consent.type":     "consent.channel",
	"order":            "purchase",
	"orders":           "purchase",
	"sales":            "purchase",
	"transaction":      "purchase",
	"transactions":     "purchase",
	"payments":         "purchase",
	"bought":           "purchase",
	"emails":           "email",
	"mails":            "email",
	"newsletter":       "email",
	"visit":            "web",
	"visits":           "web",
	"session":          "web",
	"sessions":         "web",
	"pageviews":        `web.name == "page_viewed"`,
	"page_views":       `web.name == "page_viewed"`,
	"opens":            `email.action == "opened" && !email.machine_open`,
	"clicks":           `email.action == "clicked"`,
	"refunds":          `purchase.kind == "refunded"`,
	"consent.status":   "consent.state",
}

// Instead returns what the schemas have in the place of a field, written with its stream,
// or of events, "" if nothing is near.
func Instead(field string) string { return instead[field] }

// InsteadOf lists the names that something else is there for.
func InsteadOf() (l []string) {
	for name := range instead {
		l = append(l, name)
	}
	return l
}
