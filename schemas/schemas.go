package schemas

import (
	"embed"
	"fmt"
	"path"
	"sort"

	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas/avro"
)

//go:embed *.avsc history/*.avsc
var files embed.FS

// The names of the output schemas, as [Text] takes them.
const (
	MembershipChange = "membership_change"
	TriggerFired     = "trigger_fired"
)

// InputName returns the name of the schema of a stream, as [Text] takes it.
func InputName(s plan.Stream) string { return s.Builtin().Schema }

// Names returns the names of all schemas, inputs in the order of their streams,
// then outputs.
func Names() (l []string) {
	for s := range plan.NumBuiltin {
		l = append(l, InputName(s))
	}
	return append(l, MembershipChange, TriggerFired)
}

// Text returns the Avro schema of that name, such as "web_event", as JSON.
func Text(name string) (string, error) {
	b, err := files.ReadFile(name + ".avsc")
	if err != nil {
		return "", fmt.Errorf("schema %q: there is none of that name", name)
	}
	return string(b), nil
}

// mustSchema parses one of our own schemas. That they parse is a property of the
// program, so the opposite is a panic.
func mustSchema(name string) *avro.Schema {
	text, err := Text(name)
	if err != nil {
		panic(err)
	}
	s, err := avro.Parse([]byte(text))
	if err != nil {
		panic(fmt.Sprintf("schema %s: %v", name, err))
	}
	return s
}

// historyFiles returns the paths of every version of a schema that was ever in
// use, oldest first.
func historyFiles(name string) []string {
	l, err := files.ReadDir("history")
	if err != nil {
		panic(err)
	}
	var paths []string
	for _, f := range l {
		if ok, _ := path.Match(name+".v*.avsc", f.Name()); ok {
			paths = append(paths, "history/"+f.Name())
		}
	}
	sort.Slice(paths, func(i, j int) bool {
		if len(paths[i]) != len(paths[j]) {
			return len(paths[i]) < len(paths[j]) // v9 before v10
		}
		return paths[i] < paths[j]
	})
	return paths
}
