package connectortest

import (
	"strings"
	"testing"
)

func TestJudgeFindsWhatIsWrong(t *testing.T) {
	ok, failed := Answer{}, Answer{Status: 500}
	post := func(id, body string, a Answer) Post { return Post{ID: id, Body: []byte(body), Answer: a} }
	for _, c := range []struct {
		name  string
		posts []Post
		kills int
		says  string // "" is fine
	}{
		{"all once", []Post{post("a", "1", ok), post("b", "2", ok)}, 0, ""},
		{"a repeat after an error", []Post{post("a", "1", failed), post("a", "1", ok), post("b", "2", ok)}, 0, ""},
		{"a repeat after a hang", []Post{post("a", "1", Answer{Hang: true}), post("a", "1", ok), post("b", "2", ok)}, 0, ""},
		{"a rejection counts as settled", []Post{post("a", "1", Answer{Status: 404}), post("b", "2", ok)}, 0, ""},
		{"repeats of a kill", []Post{post("a", "1", ok), post("b", "2", ok), post("a", "1", ok), post("b", "2", ok)}, 1, ""},
		{"one more than that", []Post{post("a", "1", ok), post("b", "2", ok), post("a", "1", ok), post("b", "2", ok), post("b", "2", ok)}, 1, "3 repeats, expected at most 2"},
		{"a repeat for nothing", []Post{post("a", "1", ok), post("a", "1", ok), post("b", "2", ok)}, 0, "1 repeats, expected at most 0"},
		{"another body", []Post{post("a", "1", failed), post("a", "x", ok), post("b", "2", ok)}, 0, "repeats a with another body"},
		{"one is missing", []Post{post("a", "1", ok)}, 0, "b was never answered for good (it arrived: false)"},
		{"one never went through", []Post{post("a", "1", ok), post("b", "2", Answer{Drop: true})}, 0, "b was never answered for good (it arrived: true)"},
		{"an unknown one", []Post{post("a", "1", ok), post("b", "2", ok), post("c", "3", ok)}, 0, `the id "c"`},
	} {
		err := Judge(c.posts, Account{IDs: []string{"a", "b"}, Kills: c.kills, MaxUncommitted: 2})
		if (c.says == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, expected %q", c.name, err, c.says)
		}
	}
}
