package assign

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/runtime/internal/logclient"
)

var rewrite = flag.Bool("rewrite", false, "write what is found into the transcripts")

// TestTranscripts runs testdata/*.txt: a line that begins with "> " changes the
// cluster or deals, what follows is what comes out of it.
//
//	units 0_0 0_1 ...     stateful ones; stateless ones with a + before the id
//	standbys N
//	member NAME [capacity=N] [owns=ID,ID] [lag=ID:N,ID:N]
//	gone NAME
//	deal                  prints, and everybody takes what it was given
//	caught NAME           its standbys and warm-ups have caught up
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) { transcript(t, name) })
	}
}

func transcript(t *testing.T, name string) {
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	c := newCluster()
	var got strings.Builder
	for _, line := range strings.Split(strings.TrimRight(string(want), "\n"), "\n") {
		switch {
		case strings.HasPrefix(line, "> "):
			fmt.Fprintln(&got, line)
			got.WriteString(c.run(strings.Fields(line[2:])))
		case strings.HasPrefix(line, "#") || line == "":
			fmt.Fprintln(&got, line)
		}
	}
	if *rewrite {
		if err := os.WriteFile(name, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got.String() != string(want) {
		t.Errorf("%s (go test -rewrite accepts it):\nexpected:\n%s\nfound:\n%s", name, want, got.String())
	}
}

// cluster is what the instances of an application have, between two deals.
type cluster struct {
	members  map[string]*Member
	units    []logclient.Unit
	standbys int
	last     map[string]Given
}

func newCluster() *cluster {
	return &cluster{members: map[string]*Member{}, last: map[string]Given{}}
}

func (c *cluster) run(a []string) string {
	switch a[0] {
	case "units":
		c.units = nil
		for _, id := range a[1:] {
			bare := strings.TrimPrefix(id, "+")
			c.units = append(c.units, logclient.Unit{ID: bare, Stateful: bare == id})
		}
	case "standbys":
		c.standbys, _ = strconv.Atoi(a[1])
	case "member":
		m := &Member{Name: a[1], Lag: map[string]int64{}}
		for _, setting := range a[2:] {
			name, value, _ := strings.Cut(setting, "=")
			switch name {
			case "capacity":
				m.Capacity, _ = strconv.Atoi(value)
			case "owns":
				m.Owns = strings.Split(value, ",")
			case "lag":
				for _, pair := range strings.Split(value, ",") {
					id, n, _ := strings.Cut(pair, ":")
					m.Lag[id], _ = strconv.ParseInt(n, 10, 64)
				}
			}
		}
		c.members[m.Name] = m
	case "gone":
		delete(c.members, a[1])
	case "deal":
		return c.deal()
	case "caught":
		c.catchUp(a[1])
	default:
		return "what is " + a[0] + "?\n"
	}
	return ""
}

// input is what Assign is called with, in random order: a map's.
func (c *cluster) input() []Member {
	var in []Member
	for _, m := range c.members {
		in = append(in, *m)
	}
	return in
}

func (c *cluster) stateful(id string) bool {
	i := slices.IndexFunc(c.units, func(u logclient.Unit) bool { return u.ID == id })
	return i >= 0 && c.units[i].Stateful
}

// deal deals, and everybody takes what it was given: who runs a unit has its
// state whole soon after; who makes a copy has begun to.
func (c *cluster) deal() string {
	var out strings.Builder
	for _, g := range Assign(c.input(), c.units, c.standbys) {
		fmt.Fprintf(&out, "%s runs %s", g.Name, strings.Join(g.Units, " "))
		if len(g.Standbys) > 0 {
			fmt.Fprintf(&out, ", standby of %s", strings.Join(g.Standbys, " "))
		}
		if len(g.Warmups) > 0 {
			fmt.Fprintf(&out, ", warms up %s", strings.Join(g.Warmups, " "))
		}
		out.WriteByte('\n')
		m := c.members[g.Name]
		m.Owns = g.Units
		for _, id := range g.Units {
			if c.stateful(id) {
				m.Lag[id] = 0
			}
		}
		for _, id := range append(slices.Clone(g.Standbys), g.Warmups...) {
			if _, is := m.Lag[id]; !is {
				m.Lag[id] = 1_000_000
			}
		}
		c.last[g.Name] = g
	}
	return out.String()
}

func (c *cluster) catchUp(name string) {
	for _, id := range append(slices.Clone(c.last[name].Standbys), c.last[name].Warmups...) {
		c.members[name].Lag[id] = 0
	}
}
