package frame

import (
	"fmt"
	"math/rand"
	"testing"
)

// The order that fields had before never changes which one has a name.
func TestFindNext(t *testing.T) {
	s := FieldSet{ByName: map[string]int{}}
	for i := range 12 {
		s.Fields = append(s.Fields, Field{Name: fmt.Sprint("field", i)})
		s.ByName[s.Fields[i].Name] = i
	}
	order := s.NewOrder()
	g := rand.New(rand.NewSource(1))
	for range 1000 {
		at := 0
		for _, i := range g.Perm(14)[:g.Intn(15)] { // two names are unknown
			name := []byte(fmt.Sprint("field", i))
			if got, want := s.FindNext(name, order, &at), s.Find(name); got != want {
				t.Fatalf("%s: %v, want %v", name, got, want)
			}
		}
	}
}
