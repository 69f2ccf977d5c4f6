package inspect

import (
	"fmt"
	"strings"
	"testing"
)

// An id that many events have is suspicious only among many customers and events.
func TestShared(t *testing.T) {
	for _, tt := range []struct {
		others, each, guest int
		want                bool
	}{
		{90, 1, 10, true}, {90, 1, 9, false}, {18, 10, 100, false}, {19, 10, 100, true}, {60, 1, 39, false}, {19, 10, 10, false}, {0, 0, 5000, false},
	} {
		c := customers{"guest": tt.guest}
		for n := range tt.others {
			c[fmt.Sprint("c", n)] = tt.each
		}
		if id, _, _ := c.shared(); (id == "guest") != tt.want || id != "" && id != "guest" {
			t.Errorf("%+v: %q", tt, id)
		}
	}
}

// Pairs of inputs with hardly a customer in common are reported; visitors have no part in it.
func TestCompare(t *testing.T) {
	named := func(prefix string, n int) customers {
		c := customers{}
		for k := range n {
			c[fmt.Sprint(prefix, k)] = 1
		}
		return c
	}
	i := &Inspection{}
	web, mail := named("anon:", 50), named("mail:", 30)
	mail["c1"] = 2
	i.compare([]string{"web", "shop", "mail", "none"}, map[string]customers{"web": web, "shop": named("c", 40), "mail": mail, "none": {}})
	if len(i.Findings) != 1 || i.Findings[0].Topic != "mail, shop" || i.Findings[0].Error ||
		!strings.HasPrefix(i.Findings[0].Message, "99 % of the customers") || !strings.HasSuffix(i.Findings[0].Message, ": 31 on the first, 40 on the second, 1 on both") {
		t.Errorf("%+v", i.Findings)
	}
	i = &Inspection{}
	mail["c2"] = 1
	i.compare([]string{"shop", "mail"}, map[string]customers{"shop": named("c", 40), "mail": mail})
	if len(i.Findings) != 0 {
		t.Errorf("%+v", i.Findings)
	}
}
