package app

import (
	"reflect"
	"testing"
)

// TestSchemaKeys: what is said of keys in the schema is of keys that there are.
func TestSchemaKeys(t *testing.T) {
	there := map[string]bool{}
	var walk func(typ reflect.Type, path string)
	walk = func(typ reflect.Type, path string) {
		there[path] = true
		switch typ.Kind() {
		case reflect.Pointer:
			walk(typ.Elem(), path)
		case reflect.Slice:
			walk(typ.Elem(), path+"[]")
		case reflect.Struct:
			for i, key := range keys(typ) {
				if path != "" {
					key = path + "." + key
				}
				walk(typ.Field(i).Type, key)
			}
		default: // a value
		}
	}
	walk(reflect.TypeFor[Config](), "")
	for key := range described {
		if !there[key] {
			t.Errorf("described: there is no key %s", key)
		}
	}
	for key := range choices {
		if !there[key] {
			t.Errorf("choices: there is no key %s", key)
		}
	}
}
