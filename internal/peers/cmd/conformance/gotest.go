package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// goTest is one call of `go test` in a foreign suite.
type goTest struct {
	dir      string   // where go is called
	env      []string // beside the process's own
	packages []string
	run      []string // each a pattern of go test's -run; none is all tests
	timeout  time.Duration
}

// results are the verdicts of a suite: "pass", "fail" or "skip", or "run" while
// there is none (which stays where a test took its whole package down), by test, which is
// named "Test/sub", with its folder in the module before it: "sasl TestSASL".
type results struct {
	verdict map[string]string
	output  map[string]*strings.Builder
	took    time.Duration
	fault   string // what the call as a whole came to, when it is not the tests' verdict
}

// event is a line of `go test -json` (see `go doc test2json`).
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64 // seconds
}

// do runs the tests (without vet, whose judgement of them is not ours to act on) one
// package after the other and prints each top-level
// verdict to progress. Its error says that go test could not do its work.
func (g goTest) do(ctx context.Context, module string, progress io.Writer) (*results, error) {
	args := []string{"test", "-json", "-vet=off", "-count=1", "-p=1", "-timeout=" + g.timeout.String()}
	if len(g.run) > 0 {
		args = append(args, "-run="+strings.Join(g.run, "|"))
	}
	cmd := exec.CommandContext(ctx, "go", append(args, g.packages...)...)
	cmd.Dir, cmd.Env = g.dir, append(append(cmd.Environ(), "GOTOOLCHAIN=auto"), g.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the test binary goes with go test
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var faults strings.Builder
	cmd.Stderr = &faults
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := &results{verdict: map[string]string{}, output: map[string]*strings.Builder{}}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			faults.WriteString(lines.Text() + "\n")
			continue
		}
		e.Package = strings.TrimPrefix(strings.TrimPrefix(e.Package, module), "/")
		r.add(e, progress)
	}
	scanned := lines.Err()
	ended := cmd.Wait()
	r.took = time.Since(began)
	if scanned != nil {
		return r, fmt.Errorf("go test's output: %w", scanned)
	}
	if len(r.verdict) == 0 {
		return r, fmt.Errorf("go test %v ran no test: %v\n%s", g.packages, ended, faults.String())
	}
	r.settle(ended, faults.String())
	return r, g.allPatternsMatch(r)
}

// settle notes what the verdicts do not tell: tests that were cut short, a call
// that failed as a whole.
func (r *results) settle(ended error, said string) {
	if cut := r.with("run"); len(cut) > 0 {
		r.fault = fmt.Sprintf("%d tests have no verdict, and those after them did not run: %s", len(cut), strings.Join(cut, ", "))
	} else if ended != nil && r.count("fail") == 0 {
		r.fault = fmt.Sprintf("%v\n%s", ended, said)
	}
}

// allPatternsMatch refuses a pattern that chose no test: a suite that renames
// its tests must not look like one that passes.
func (g goTest) allPatternsMatch(r *results) error {
	for _, pattern := range g.run {
		re, err := regexp.Compile(pattern)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(r.names(), func(n string) bool { return re.MatchString(testOf(n)) }) {
			return fmt.Errorf("the pattern %q chose no test of %v", pattern, g.packages)
		}
	}
	return nil
}

// testOf is the test of a name "package test": names have no other space.
func testOf(name string) string { return name[strings.IndexByte(name, ' ')+1:] }

func (r *results) add(e event, progress io.Writer) {
	name := strings.TrimSpace(e.Package + " " + e.Test)
	switch e.Action {
	case "run":
		r.verdict[name] = e.Action
	case "output":
		if r.output[name] == nil {
			r.output[name] = &strings.Builder{}
		}
		if b := r.output[name]; b.Len() < 1<<20 {
			b.WriteString(e.Output)
		}
	case "pass", "skip":
		delete(r.output, name)
		r.judge(e, name, progress)
	case "fail":
		r.judge(e, name, progress)
	}
}

func (r *results) judge(e event, name string, progress io.Writer) {
	if e.Test == "" {
		return
	}
	r.verdict[name] = e.Action
	if !strings.Contains(e.Test, "/") && (e.Action != "pass" || progress != io.Discard) {
		fmt.Fprintf(progress, "%-4s  %s (%.1fs)\n", e.Action, name, e.Elapsed)
	}
}

// names are the tests and their sub-tests, in order.
func (r *results) names() []string {
	var all []string
	for n := range r.verdict {
		all = append(all, n)
	}
	slices.Sort(all)
	return all
}

// with are the tests of a verdict, in order.
func (r *results) with(verdict string) []string {
	return slices.DeleteFunc(r.names(), func(n string) bool { return r.verdict[n] != verdict })
}

func (r *results) count(verdict string) int { return len(r.with(verdict)) }
