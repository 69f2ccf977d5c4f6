package preset_test

import (
	"testing"

	"github.com/segmill/segmill/engine/rule/preset"
)

// Every preset can be read, and has a name of the form vendor/records@version.
func TestPresets(t *testing.T) {
	names := preset.Names()
	if len(names) < 15 {
		t.Errorf("only %d presets: %v", len(names), names)
	}
	for _, name := range names {
		if l, ok := preset.Find(name); !ok || len(l) == 0 {
			t.Errorf("%s: %d mappings", name, len(l))
		}
	}
	if _, ok := preset.Find("shopify/orders"); ok {
		t.Error("a preset without its version is found")
	}
}
