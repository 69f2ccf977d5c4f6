package replay

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

func compressed(t *testing.T, text string, to func(io.Writer) io.WriteCloser) string {
	t.Helper()
	var b bytes.Buffer
	w := to(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestForms: a file of lines, an array, and either of them compressed give the same.
func TestForms(t *testing.T) {
	events := []string{web(1, "a", "2026-01-01T10:00:00Z"), web(2, `b,]"`, "2026-01-01T10:00:01Z"), web(3, "c", "2026-01-01T12:00:00Z")}
	text := strings.Join(events, "\n")
	array := " \n[" + strings.Join(events, ",\n ") + "]\n"
	zip := func(text string) string {
		return compressed(t, text, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
	}
	zst := func(text string) string {
		return compressed(t, text, func(w io.Writer) io.WriteCloser {
			z, err := zstd.NewWriter(w)
			if err != nil {
				t.Fatal(err)
			}
			return z
		})
	}
	want := ""
	for name, input := range map[string]string{
		"lines": text, "array": array, "array with a mark": "\ufeff[" + array[3:], "gzip": zip(text), "gzip, two members": zip(events[0]+"\n") + zip(strings.Join(events[1:], "\n")),
		"gzip of an array": zip(array), "zstd": zst(text), "zstd of an array": zst(array),
	} {
		f, out := newFile(t, rules)
		r, err := Decompressed(iotest.HalfReader(strings.NewReader(input)))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c, err := f.Run(r)
		if err != nil || c.Lines != 3 || c.Bad != 0 {
			t.Errorf("%s: %+v, %v\n%s", name, c, err, out)
		}
		if want == "" {
			want = out.String()
		}
		if out.String() != want {
			t.Errorf("%s: got\n%swant\n%s", name, out, want)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestArrays: what is wrong with an element costs that element, and an array without an
// end fails.
func TestArrays(t *testing.T) {
	f, out := newFile(t, rules)
	c, err := f.Run(strings.NewReader("[" + web(1, "a", "2026-01-01T10:00:00Z") + `, 3, {"stream":"web"}, {]}, "` + strings.Repeat("x", maxLine+9) + `", ` + web(2, "b", "2026-01-01T10:00:00Z") + "]"))
	if err != nil || !c.Array || c.Lines != 6 || c.Bad != 4 {
		t.Errorf("%+v, %v\n%s", c, err, out)
	}
	f, _ = newFile(t, rules)
	if c, err := f.Run(strings.NewReader(" [ ] ")); err != nil || c.Bad != 0 {
		t.Errorf("an empty array: %+v, %v", c, err)
	}
	f, _ = newFile(t, rules)
	if _, err := f.Run(strings.NewReader("[" + web(1, "a", "2026-01-01T10:00:00Z") + ",")); err == nil || !strings.Contains(err.Error(), "does not end") {
		t.Errorf("cut off: %v", err)
	}
}

// TestDamaged: a damaged file is an error, not an end.
func TestDamaged(t *testing.T) {
	text := compressed(t, strings.Repeat(web(1, "a", "2026-01-01T10:00:00Z")+"\n", 100), func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
	f, _ := newFile(t, rules)
	r, err := Decompressed(strings.NewReader(text[:len(text)-9]))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Run(r); err == nil {
		t.Error("it was read to its end")
	}
	if _, err := Decompressed(strings.NewReader("\x1f\x8bno")); err == nil {
		t.Error("no gzip, and no error")
	}
	if r, err := Decompressed(strings.NewReader("")); err != nil {
		t.Errorf("%v, %v", r, err)
	}
}
