package app

import (
	"reflect"
)

// choices are the values of keys that have a few.
var choices = map[string][]string{
	"clock": {"wall", "events"}, "delivery": {"exactly_once", "at_least_once"}, "log": {"debug", "info", "warn", "error"},
	"dead_letter.payload": {"original", "hash"}, "kafka.sasl.mechanism": {"plain", "scram-sha-256", "scram-sha-512"},
	"output.format": {"avro", "json", ""}, "output.compression": {"none", "gzip", "snappy", "lz4", "zstd"}, "output.headers": {"cloudevents", "ids", "none"},
	"inputs[].from": {fromEarliest, fromNow, ""},
}

// described says in a sentence what keys mean; docs/configure.md says all.
var described = map[string]string{
	"app":                       "Name of the application.",
	"rules":                     "Rule files and directories, read at startup.",
	"state":                     "Directory of the local copy of the state.",
	"kafka.brokers":             "Some of the brokers, as host:port.",
	"kafka.tls.ca":              "PEM file of trusted certificate authorities.",
	"kafka.tls.cert":            "PEM file of the client certificate.",
	"kafka.tls.key":             "PEM file of the client certificate's key.",
	"kafka.sasl.mechanism":      "plain, scram-sha-256 or scram-sha-512.",
	"kafka.sasl.password":       "Never printed. Take it from the environment.",
	"kafka.session_timeout":     "How long a dead instance keeps its partitions.",
	"registry.url":              "Address of the schema registry.",
	"topics.web":                "Input topic of the stream.",
	"topics.changes":            "Output topic of membership changes.",
	"topics.triggers":           "Output topic of triggers.",
	"inputs":                    "Further input topics, any number for a stream: [{topic: shop.orders, stream: purchase}, {topic: till.orders, stream: purchase}].",
	"inputs[].map":              "In place of stream: the mapping of the rule files that says what the topic's records are.",
	"inputs[].from":             "Where an input is read from that the application has not read before: earliest is the first record that is left, now is the end, for a topic that is added later and whose past must not count.",
	"topics.create.partitions":  "Create missing input topics with this many partitions.",
	"topics.create.replication": "Replication factor of topics that the engine creates.",
	"output.compression":        "Compression of changes and triggers: none, gzip, snappy, lz4 or zstd.",
	"output.headers":            "Headers of changes and triggers: cloudevents, ids (the change or trigger id only) or none.",
	"commit_interval":           "Time between transactions, at most 5s, and so the longest time from an event to its committed effects.",
	"grace":                     "How long the clock waits for events that are still on their way before a timer may fire.",
	"silence_grace":             "grace for exits and triggers caused by time alone: a duration, or auto, which also waits while an input partition has no leader.",
	"clock":                     "events: the clock follows the events, for runs over history.",
	"max_future_skew":           "Events dated further ahead of the wall clock are dead letters.",
	"max_open_transaction":      "How long timers wait for a transaction that a producer has opened on an input and not ended.",
	"max_merge_wait":            "How long a topic whose next record does not arrive holds up the others.",
	"max_clock_jump":            "If the wall clock jumps ahead by more than this, timers stop, because messages that were sent cannot be taken back.",
	"delivery":                  "exactly_once, or at_least_once for clusters without transactions.",
	"skip_deleted":              "If retention has deleted records that were never read, continue at the earliest remaining record.",
	"standby":                   "Number of other instances that keep a copy of each partition, 0 to 3.",
	"dead_letter.payload":       "hash keeps personal data out of the dead letters.",
	"dead_letter.key_file":      "With payload: hash, the file of the key of the HMAC that dead letters then carry.",
	"http":                      "Address of the endpoints.",
	"log":                       "debug, info, warn or error.",
}

// fromEnvironment is a value that has an environment variable in it.
var fromEnvironment = map[string]any{"type": "string", "pattern": `\$\{[A-Za-z_][A-Za-z0-9_]*\}`}

// ConfigSchema returns a JSON Schema of configuration files, which has the keys of Config
// and their kinds of values.
func ConfigSchema() map[string]any {
	s := schemaOf(reflect.TypeFor[Config](), "")
	s["required"] = []string{"app", "rules", "kafka"}
	return s
}

func schemaOf(t reflect.Type, path string) map[string]any {
	or := func(s map[string]any) map[string]any { return map[string]any{"anyOf": []any{s, fromEnvironment}} }
	switch {
	case t.Kind() == reflect.Pointer:
		return schemaOf(t.Elem(), path)
	case t == reflect.TypeFor[Duration]():
		return or(map[string]any{"type": []string{"string", "integer"}, "pattern": `^([0-9]+(y|w|d|h|ms|m|s))+$|^0$`})
	case choices[path] != nil:
		return or(map[string]any{"enum": choices[path]})
	}
	switch t.Kind() {
	case reflect.Struct:
		properties := map[string]any{}
		for i, key := range keys(t) {
			at := key
			if path != "" {
				at = path + "." + key
			}
			s := schemaOf(t.Field(i).Type, at)
			if text := described[at]; text != "" {
				s["description"] = text
			}
			properties[key] = s
		}
		return map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem(), path+"[]")}
	case reflect.Bool:
		return or(map[string]any{"enum": []any{true, false, "true", "false"}})
	case reflect.String:
		return map[string]any{"type": []string{"string", "number", "boolean"}}
	default: // whole numbers
		return or(map[string]any{"anyOf": []any{map[string]any{"type": "integer"}, map[string]any{"type": "string", "pattern": "^-?[0-9]+$"}}})
	}
}
