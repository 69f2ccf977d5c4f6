// Package schemas is everything about the shape of records: the Avro schemas of
// what goes in and out, the catalog of fields that rules are checked against, the
// [Reader] that makes events of bytes, and the [Encoder] that makes bytes of
// effects.
//
// The one rule it keeps: a record is untrusted, and so is the schema it names.
// Whatever the bytes are, reading them ends soon, allocates little, and gives an
// event or an error that says which field is wrong and why; it never panics. So
// every length is checked against the bytes that are left before anything is
// allocated, every count against a budget for the whole record, and every schema
// passes a gate before any library sees it.
//
// A record is read by projection: the fields that rules read go straight from the
// bytes into the slots of [plan.Layout], everything else is stepped over.
package schemas
