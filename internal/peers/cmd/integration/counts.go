package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// event is a line of `go test -json` (see `go doc test2json`).
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
	Elapsed float64
}

// top is a test as the Go tool runs it, with all its subtests.
type top struct{ pkg, test string }

// tally is how the tests below a top, and itself, ended.
type tally struct {
	passed, failed, skipped int
	said                    []string // by those that failed
}

// mostAgain is how many failed tests run a second time: where more fail, it is not
// the moment that is to blame.
const mostAgain = 3

// counts counts tests and keeps the output of each until its verdict, and of
// those that failed to the end.
type counts struct {
	verbose bool // tells passed tests, too
	output  map[top]*strings.Builder
	tallies map[top]*tally
	order   []top
	faults  []string // what is no test's own failure
	unsure  []string // what those said that passed at their second try only
}

// of is the tally of a test's top.
func (c *counts) of(pkg, test string) *tally {
	name, _, _ := strings.Cut(test, "/")
	k := top{pkg, name}
	if c.tallies[k] == nil {
		if c.tallies == nil {
			c.tallies = map[top]*tally{}
		}
		c.tallies[k] = &tally{}
		c.order = append(c.order, k)
	}
	return c.tallies[k]
}

// sum is over all tests; a fault counts as one that failed.
func (c *counts) sum() tally {
	sum := tally{failed: len(c.faults)}
	for _, t := range c.tallies {
		sum.passed += t.passed
		sum.failed += t.failed
		sum.skipped += t.skipped
	}
	return sum
}

// fault counts what is no test's own failure.
func (c *counts) fault(what string, err error) {
	said := fmt.Sprintf("FAIL  %s: %v\n", what, err)
	fmt.Print(said)
	c.faults = append(c.faults, said)
}

// again are the tests that may have a second try.
func (c *counts) again() []top {
	var failed []top
	for _, k := range c.order {
		if c.tallies[k].failed > 0 {
			failed = append(failed, k)
		}
	}
	if len(c.faults) > 0 || len(failed) > mostAgain {
		return nil
	}
	return failed
}

// secondTry takes the outcome of a test's second try for its own, if all of it passed.
func (c *counts) secondTry(k top, second *counts) {
	first, sum := c.tallies[k], second.sum()
	if sum.failed > 0 || sum.passed == 0 {
		for _, t := range second.tallies {
			first.said = append(first.said, t.said...)
		}
		first.said = append(first.said, second.faults...)
		return
	}
	c.unsure = append(c.unsure, fmt.Sprintf("AGAIN %s %s failed, and passed when it ran again, alone; at first it said\n%s", k.pkg, k.test, strings.Join(first.said, "")))
	c.tallies[k] = second.of(k.pkg, k.test)
}

// tellFailures repeats the ends of what the failed tests said, at the end, where
// a reader of a long log looks first.
func (c *counts) tellFailures(w io.Writer) {
	const most = 6000 // bytes of each
	said := append(append([]string(nil), c.unsure...), c.faults...)
	for _, k := range c.order {
		said = append(said, c.tallies[k].said...)
	}
	for _, s := range said {
		if len(s) > most {
			head, rest, _ := strings.Cut(s, "\n")
			s = head + "\n...\n" + rest[max(0, len(rest)-most):]
		}
		fmt.Fprintf(w, "\n%s", s)
	}
}

func (c *counts) add(e event) {
	key := top{e.Package, e.Test}
	if c.output == nil {
		c.output = map[top]*strings.Builder{}
	}
	took := time.Duration(e.Elapsed * float64(time.Second)).Round(100 * time.Millisecond)
	switch e.Action {
	case "output":
		if c.output[key] == nil {
			c.output[key] = &strings.Builder{}
		}
		c.output[key].WriteString(e.Output)
		return
	case "build-output":
		fmt.Print(e.Output)
		return
	case "pass":
		if e.Test != "" {
			c.of(e.Package, e.Test).passed++
			if c.verbose {
				fmt.Printf("ok    %s %s (%s)\n%s", e.Package, e.Test, took, notes(c.output[key]))
			}
		}
	case "skip":
		if e.Test != "" {
			c.of(e.Package, e.Test).skipped++
			fmt.Printf("skip  %s %s\n%s", e.Package, e.Test, c.output[key])
		}
	case "fail":
		if e.Test == "" {
			return // its tests have said why, or run does
		}
		t, said := c.of(e.Package, e.Test), fmt.Sprintf("FAIL  %s %s (%s)\n", e.Package, e.Test, took)
		if b := c.output[key]; b != nil {
			said += b.String()
		}
		fmt.Print(said)
		t.failed++
		t.said = append(t.said, said)
	}
	delete(c.output, key)
}

// unheard is what was said by tests without a verdict, and beside all tests.
func (c *counts) unheard() string {
	var said strings.Builder
	for _, b := range c.output {
		said.WriteString(b.String())
	}
	clear(c.output)
	return said.String()
}

// notes are the lines that a passed test logged: figures worth seeing.
func notes(b *strings.Builder) string {
	if b == nil {
		return ""
	}
	var keep []string
	for line := range strings.Lines(b.String()) {
		if strings.HasPrefix(line, "    ") {
			keep = append(keep, line)
		}
	}
	return strings.Join(keep, "")
}
