// Package editor has the JSON Schemas of the files that people write: rules, tests of rules,
// and configurations. Editors complete and check keys and values by them while one types.
//
// The one rule it keeps: a schema never refuses what the program accepts. It knows nothing
// of conditions, so it accepts more; check has the last word.
package editor

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule/file"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/internal/ruletest"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/triggers"
)

// Names are the names of the schemas.
func Names() []string { return []string{"rules", "test", "config"} }

// Schema returns the text of a schema by its name.
func Schema(name string) (string, error) {
	var s object
	switch name {
	case "rules":
		s = rules()
	case "test":
		s = tests()
	case "config":
		s = config()
	default:
		return "", fmt.Errorf("there is no schema %q: one of %s", name, strings.Join(Names(), ", "))
	}
	s["$schema"] = "http://json-schema.org/draft-07/schema#"
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return "", err
	}
	return string(b) + "\n", nil
}

type object = map[string]any

// one returns the schema of a single value: YAML reads some texts as numbers and truth
// values.
func one(description string) object {
	return object{"type": []string{"string", "number", "boolean"}, "description": description}
}

func text(description, pattern string) object {
	return object{"type": "string", "pattern": pattern, "description": description}
}

func choice(description string, values ...string) object {
	return object{"enum": values, "description": description}
}

func list(of any, description string) object {
	return object{"type": "array", "items": of, "description": description}
}

func mapOf(of any, description string) object {
	return object{"type": "object", "additionalProperties": of, "description": description}
}

// keyed returns the schema of a mapping with the given keys and no others. Keys that are
// not described accept anything.
func keyed(keys []string, described object, required ...string) object {
	properties := object{}
	for _, k := range keys {
		properties[k] = described[k]
		switch {
		case k == "allow":
			properties[k] = allow()
		case described[k] == nil:
			properties[k] = object{}
		}
	}
	s := object{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// allow are the warnings that are meant, each with the reason.
func allow() object {
	reasons := object{}
	for _, id := range file.IDs() {
		reasons[string(id)] = one("Why this warning is meant.")
	}
	return object{"type": "object", "properties": reasons, "additionalProperties": false, "description": "Warnings that are meant, with the reason."}
}

const (
	dateForm     = `^\d{4}-\d{2}-\d{2}$`
	durationForm = `^(\d+(y|w|d|h|ms|m|s))+$`
)

// about are the keys that segments, lifecycles and triggers share.
func about() object {
	return object{
		"id": object{
			"type": []string{"string", "number", "boolean"}, "pattern": "^[a-z0-9_-]+$", "maxLength": 100,
			"description": "A short name that never changes: it is part of every message.",
		},
		"was": object{
			"type": []string{"string", "number", "boolean"}, "pattern": "^[a-z0-9_-]+$", "maxLength": 100,
			"description": "The id before: members, sequences and what a trigger remembers go on under the new one.",
		},
		"name":          one("For people."),
		"description":   one("For people."),
		"objective":     one("What it is for."),
		"owner":         one("Who answers for it."),
		"review_by":     text("When somebody looks at it again: 2027-06-01.", dateForm),
		"channel":       one("The channel that is preferred for its messages."),
		"expected_size": text("A range of percentages of all customers: 5%..25%.", `^[0-9]+(\.[0-9]+)?%\.\.[0-9]+(\.[0-9]+)?%$`),
		"when":          one("A condition in CEL: true, false or unknown."),
	}
}

func rules() object {
	known := file.Known()
	meta := about()
	stage := keyed(known["stage"], meta, "id", "when")
	lifecycle := about()
	lifecycle["stages"] = object{"type": "array", "items": stage, "minItems": 1, "description": "The first stage whose condition is true."}
	var streams []string
	for s := range plan.NumBuiltin {
		streams = append(streams, s.String())
	}
	fields := mapOf(choice("The type of a field of your own.", plan.OwnTypes()...), "Fields of your own and their types.")
	stream := keyed(known["stream"], object{"activity": one("Whether its events are activity: true or false."), "fields": fields})
	stream["type"] = []string{"object", "null"}
	s := keyed(known["file"], object{
		"version": object{"enum": []any{1, "1"}, "description": "Of the rule language."},
		"defaults": keyed(known["defaults"], object{
			"timezone": one("The IANA time zone of customers whose profile has none: Europe/Paris."),
			"feb_29":   choice("The date of 29 February in common years.", "feb_28", "mar_1"),
			"currency": text("The ISO 4217 code of the currency that amounts are converted to.", "^[A-Za-z]{3}$"),
		}),
		"readings": keyed(known["readings"], object{
			"dedup":          mapOf(text("1h to 90d", `^[0-9]{1,5}(h|d|w)$`), "Stream: how long ids of its events are remembered."),
			"rates":          mapOf(one("A decimal number above 0."), "Currency: what one unit of it is worth in the default currency."),
			"min_event_time": text("Events before this date are dead letters.", dateForm),
		}),
		"activity":   list(one("A stream, or a condition on one stream."), "What counts as the customer being active."),
		"define":     mapOf(one("An expression."), "Names for expressions."),
		"fields":     mapOf(fields, "Stream: fields of your own. Built-in streams: "+strings.Join(streams, ", ")+"."),
		"streams":    mapOf(stream, "Streams of your own."),
		"mappings":   mapOf(mapping(known["mapping"]), "What records mean that are not written for segmill."),
		"segments":   list(keyed(known["segment"], meta, "id", "objective", "owner", "review_by", "when"), "Named conditions."),
		"lifecycles": list(keyed(known["lifecycle"], lifecycle, "id", "objective", "owner", "review_by", "stages"), "Lists of stages that exclude each other."),
		"triggers":   list(trigger(known["trigger"]), "Messages that are due at a certain moment."),
	}, "version")
	s["title"] = "Rules of segmill"
	return s
}

func mapping(keys []string) object {
	return keyed(keys, object{
		"preset":      one("A preset such as shopify/orders@1."),
		"stream":      one("The stream of the events."),
		"when":        one("Whether a record is an event."),
		"each":        one("A list of which each element is an event."),
		"map":         mapOf(one("An expression."), "Field: expression."),
		"customer_id": one("An expression: whose event it is."),
		"as":          one("mail: customers are mail:<address>."),
		"mail":        one("An expression: the address that customers go by."),
		"key":         one("An expression over the record's key: whom it names."),
		"nulls":       choice("What null means.", "clear", "keep"),
		"tombstone":   choice("What a record without a value means.", "erase", "ignore"),
		"strict":      object{"enum": []any{true, false, "true", "false"}},
		"zone":        one("The IANA time zone of times without one."),
		"not_ids":     list(one("A placeholder."), "Texts that are no ids."),
	})
}

// trigger returns the schema of a trigger, whose keys depend on its kind.
func trigger(common []string) object {
	var names []string
	var kinds []any
	for _, k := range triggers.Kinds() {
		if k.Later {
			continue
		}
		described := about()
		described["kind"] = object{}
		described["reentry"] = choice("How often it fires for one customer.", "every_time", "once")
		keys, required := slices.Clone(common), []string{"id", "kind"}
		for _, set := range k.Settings {
			keys = append(keys, set.Word)
			described[set.Word] = setting(set.Form)
			if set.Missing != "" {
				required = append(required, set.Word)
			}
		}
		names = append(names, k.Name)
		kinds = append(kinds, object{
			"if":   object{"properties": object{"kind": object{"const": k.Name}}, "required": []string{"kind"}},
			"then": keyed(keys, described, required...),
		})
	}
	return object{
		"type": "object", "required": []string{"id", "kind"},
		"properties": object{"kind": choice("What it waits for.", names...)}, "allOf": kinds,
	}
}

func setting(f plan.Form) object {
	switch f {
	case plan.SetStreams:
		return list(one("A stream."), "What counts as activity.")
	case plan.SetInput:
		return one("A date or time of the customer: profile.birth_date, first(purchase).")
	case plan.SetCondition:
		return one("A condition in CEL.")
	case plan.SetFields:
		return mapOf(one("An expression."), "Name: an expression whose value the message carries.")
	default: // plan.SetValue
		return one("A value such as 30m, 45d or 09:00.")
	}
}

// placeholders are values of a test that a case fills.
var filled = object{"type": "string", "pattern": `^\$[A-Za-z_][A-Za-z0-9_]*$`}

// orFilled is a schema or a placeholder.
func orFilled(s object) object { return object{"anyOf": []any{s, filled}} }

func tests() object {
	known := ruletest.Known()
	at := one("The time since the start: 0s, 1h30m, 90d; or an instant.")
	streams := schemas.Catalog().Table().Names()
	event := keyed(known["event"], object{
		"at": at, "customer": one("Who it is about."),
		"stream": one("One of " + strings.Join(streams, ", ") + ", or a stream of your own."),
	}, "at", "stream")
	event["additionalProperties"] = true // the fields of the stream
	expectation := keyed(known["expectation"], object{
		"at": at, "customer": one("Who it is about."),
		"segment": one("A segment, or a stage: lifecycle/stage."), "action": orFilled(choice("What happens.", "entered", "exited")),
		"from": one("The stage that is left."), "trigger": one("A trigger that fires."),
		"cause":   orFilled(choice("Why a membership changes.", "event", "timer")),
		"message": object{"anyOf": []any{object{"type": "object"}, filled}, "description": "Fields of the trigger's message."},
	}, "at")
	test := keyed(known["test"], object{
		"name": one("What the test shows."), "start": one("An instant or a date."),
		"of":     orFilled(list(one("A segment, lifecycle, stage or trigger."), "What the test is about.")),
		"cases":  object{"type": "array", "minItems": 1, "items": object{"type": "object"}, "description": "Rows that fill $name."},
		"events": orFilled(list(orFilled(event), "What happens, in the order in which it arrives.")),
		"expect": object{
			"anyOf":       []any{object{"const": "none"}, list(orFilled(expectation), ""), filled},
			"description": "Everything that the named rules emit, or none.",
		},
		"run_until": at,
	}, "name", "events", "expect")
	s := keyed(known["file"], object{
		"rules": list(one("A rule file or a directory."), "From the directory of this file. Default: that directory."),
		"tests": list(test, "The tests."),
	}, "tests")
	s["title"] = "Tests of rules of segmill"
	return s
}

func config() object {
	s := app.ConfigSchema()
	s["title"] = "Configuration of segmill"
	return s
}
