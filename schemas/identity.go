package schemas

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// HeaderErase is the header of a tombstone whose key is an id however it looks:
// with the value [EraseLiteral]. Without it, a key that plainly holds an id, and is
// none, is refused: it would erase nobody, and the receipt would say that it did.
const (
	HeaderErase  = "segmill-erase"
	EraseLiteral = "literal"
)

// MaxIDBytes is the longest customer id in bytes that is read.
const MaxIDBytes = 1024

// CheckID returns an error if no customer can have the id.
func CheckID(id string) error {
	switch {
	case id == "":
		return fmt.Errorf("a customer id is empty")
	case len(id) > MaxIDBytes:
		return fmt.Errorf("the customer id %.20q… is %d bytes long, more than %d", id, len(id), MaxIDBytes)
	case !utf8.ValidString(id) || strings.ContainsRune(id, 0):
		return fmt.Errorf("the customer id %.20q is not text in UTF-8", id)
	}
	return nil
}

// NotPlain says what a text is that plainly is no customer id, although somebody
// may have meant one by it; "" if it may be one. It says nothing of the content.
// What an id has in its middle is its own matter.
func NotPlain(id string) string {
	if id == "" {
		return ""
	}
	first, _ := utf8.DecodeRuneInString(id)
	last, _ := utf8.DecodeLastRuneInString(id)
	between := func(open, end string) bool { return strings.HasPrefix(id, open) && strings.HasSuffix(id, end) }
	switch {
	case first == '\ufeff':
		return "it begins with a byte order mark"
	case unicode.IsSpace(first) || unicode.IsSpace(last):
		return "there is white space around it"
	case strings.ContainsFunc(id, unicode.IsControl):
		return "it has a control character"
	case first == '"' || last == '"' || between("'", "'"):
		return "there are quotes around it"
	case between("{", "}"), between("[", "]"), between("Struct{", "}"):
		return "it is a JSON or Connect structure"
	}
	return ""
}

// literal reports whether a tombstone's headers say that its key is an id.
func literal(l []Header) bool {
	for i := range l {
		if l[i].Key == HeaderErase && string(l[i].Value) == EraseLiteral {
			return true
		}
	}
	return false
}
