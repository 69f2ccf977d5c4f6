package avro

import "testing"

// FuzzGate: no schema text makes the gate fail in any other way than by an error,
// and what passes it is within its limits.
func FuzzGate(f *testing.F) {
	f.Add(`{"type":"record","name":"R","fields":[{"name":"a","type":["null","R"]}]}`)
	f.Add(`{"type":"record","name":"R","namespace":"a.b","fields":[{"name":"items","type":{"type":"array","items":"double"}}]}`)
	f.Add(`{"type":"record","name":"R","fields":[{"name":"event_id","type":{"type":"fixed","name":"F","size":3}}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Gate(text)
		if err != nil {
			return
		}
		if s.cost > maxCost || len(text) > MaxSchemaBytes {
			t.Errorf("cost %d, %d bytes", s.cost, len(text))
		}
	})
}
