package schemas

import (
	"fmt"

	"github.com/linkedin/goavro/v2"

	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas/avro"
)

// ownWriters returns every version of our schemas by its fingerprint, for a reader of so
// many targets. That they parse
// is a property of the program, so the opposite is a panic.
func ownWriters(targets int) map[uint64]*avro.Writer {
	own := map[uint64]*avro.Writer{}
	for stream := range plan.NumBuiltin {
		name := InputName(stream)
		for _, path := range historyFiles(name) {
			text, err := files.ReadFile(path)
			if err != nil {
				panic(err)
			}
			codec, err := goavro.NewCodec(string(text))
			if err != nil {
				panic(fmt.Sprintf("schema %s: %v", path, err))
			}
			s, err := avro.Parse(text)
			if err != nil {
				panic(fmt.Sprintf("schema %s: %v", path, err))
			}
			own[codec.Rabin] = avro.NewWriter(s, targets)
		}
	}
	return own
}
