package jsonread

import "testing"

func TestSnake(t *testing.T) {
	for in, want := range map[string]string{
		"Product Added": "product_added", "productAdded": "product_added", "PDF  Opened": "pdf_opened",
		"already_snake": "already_snake", "Über-Größe": "Über_größe", "": "", "X": "x", " a": "a", "a - ": "a",
	} {
		if got := snake([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
