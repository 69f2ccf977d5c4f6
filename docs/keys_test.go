package docs

import (
	"reflect"

	"github.com/segmill/segmill/internal/app"
)

// configKeys returns every key of the configuration, those of sections with
// their section's name in front.
func configKeys() []string {
	var keys []string
	var walk func(t reflect.Type, prefix string)
	walk = func(t reflect.Type, prefix string) {
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct {
			keys = append(keys, prefix)
			return
		}
		for i := range t.NumField() {
			if !t.Field(i).IsExported() {
				continue
			}
			name := t.Field(i).Tag.Get("yaml")
			if prefix != "" {
				name = prefix + "." + name
			}
			walk(t.Field(i).Type, name)
		}
	}
	walk(reflect.TypeFor[app.Config](), "")
	return keys
}
