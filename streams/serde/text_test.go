package serde_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/millstream-io/millstream/streams/serde"
)

type userID int64

type place struct {
	Floor int    `json:"floor"`
	Room  string `json:"room"`
}

type hidden struct{ _ int }

// textCase is a type with one text, its JSON, and a text that is none of it.
type textCase struct {
	name             string
	of               serde.Text
	text, json       string
	bad, complaining string
}

func textFor[T any](t *testing.T, text, asJSON, bad, complaining string) textCase {
	t.Helper()
	s, err := serde.For[T](nil)
	if err != nil {
		t.Fatal(err)
	}
	x := serde.TextOf(s)
	return textCase{x.Type(), x, text, asJSON, bad, complaining}
}

func TestTextIsEncodedAndComesBackAsJSON(t *testing.T) {
	for _, c := range []textCase{
		textFor[string](t, `a "b" <c>`, `"a \"b\" <c>"`, "", ""),
		textFor[string](t, "a\xffb", `{"base64":"Yf9i"}`, "", ""),
		textFor[[]byte](t, "mill", `{"base64":"bWlsbA=="}`, "", ""),
		textFor[int64](t, "-9223372036854775808", "-9223372036854775808", "abc", `"abc", expected int64`),
		textFor[int8](t, "127", "127", "128", "out of range, expected int8"),
		textFor[userID](t, "7", "7", "seven", "expected serde_test.userID, which is int64"),
		textFor[uint16](t, "65535", "65535", "-1", "expected uint16"),
		textFor[float64](t, "1.5", "1.5", "x", "expected float64"),
		textFor[float64](t, "NaN", `{"base64":"f/gAAAAAAAE="}`, "", ""),
		textFor[bool](t, "true", "true", "yes", "expected bool"),
		textFor[time.Time](t, "2026-03-02T12:00:00Z", `"2026-03-02T12:00:00Z"`, "noon", "expected time.Time"),
		textFor[place](t, `{"room":"a","floor":3}`, `{"floor":3,"room":"a"}`, "3a", `as JSON such as {"floor":0,"room":""}`),
		textFor[place](t, `{}`, `{"floor":0,"room":""}`, `{"flor":1}`, "flor"),
		textFor[place](t, `{}`, `{"floor":0,"room":""}`, `{} {}`, "more after the end"),
		textFor[[]int](t, `[1,2]`, `[1,2]`, "null", "null"),
		textFor[map[string]int](t, `{"a":1}`, `{"a":1}`, "a", "expected map[string]int as JSON"),
		textFor[hidden](t, `{}`, `{"base64":"e30="}`, "", ""),
		textFor[struct{}](t, `{}`, `{}`, "", ""),
	} {
		b, err := c.of.Parse([]byte("before"), c.text)
		if err != nil || !strings.HasPrefix(string(b), "before") {
			t.Errorf("%s: Parse(%q): %q, %v", c.name, c.text, b, err)
			continue
		}
		out, err := c.of.AppendJSON([]byte("x"), b[len("before"):])
		if err != nil || string(out) != "x"+c.json {
			t.Errorf("%s: %q became %s, %v, expected x%s", c.name, c.text, out, err, c.json)
		}
		if !json.Valid(out[1:]) {
			t.Errorf("%s: %s is not JSON", c.name, out[1:])
		}
		if c.complaining == "" {
			continue
		}
		if b, err := c.of.Parse([]byte("before"), c.bad); err == nil || !strings.Contains(err.Error(), c.complaining) || string(b) != "before" {
			t.Errorf("%s: Parse(%q): %q, %v, expected an error with %q", c.name, c.bad, b, err, c.complaining)
		}
	}
}

// What does not decode is shown all the same, with the reason.
func TestTextShowsBytesThatDoNotDecode(t *testing.T) {
	out, err := serde.TextOf(serde.Int64()).AppendJSON(nil, []byte("abc"))
	if string(out) != `{"base64":"YWJj"}` || err == nil || !strings.Contains(err.Error(), "expected 8") {
		t.Errorf("%s, %v", out, err)
	}
	if serde.TextOf[int64](nil) != nil {
		t.Error("no serde has a text")
	}
}
