package consumer

// The keys of a changelog, for tools that read one. Every transaction writes
// customers and then, always last, one position.
const (
	CustomerPrefix = customerPrefix // and the customer's id: state, null if deleted
	PositionKey    = positionKey    // see DecodePosition
	VersionsKey    = versionsKey    // see Versions
)

// DecodePosition reads the value of a record with the key PositionKey. It is an
// error if another version of the engine wrote it.
func DecodePosition(b []byte) (*Position, error) { return decodePosition(b) }
