// Command integration runs the tests that need foreign programs or a lot of
// time (those whose name begins with TestIntegration), one package after the
// other, prints a line for each package, the output of failed tests and each skip
// with its reason, and closes with the line "N passed, N failed, N skipped". Only
// the Makefile runs it. With -v each passed test is told, with the figures that it
// logged. With INTEGRATION=require a skip is a failure.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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

func main() {
	verbose := flag.Bool("v", false, "tell each passed test, with what it logged")
	flag.Parse()
	code, err := run(*verbose)
	if err != nil {
		fmt.Fprintln(os.Stderr, "integration:", err)
		code = 1
	}
	os.Exit(code)
}

func run(verbose bool) (int, error) {
	if os.Getenv("INTEGRATION") == "" {
		os.Setenv("INTEGRATION", "1")
	}
	packages, err := packagesWithTests()
	if err != nil {
		return 1, err
	}
	if len(packages) == 0 {
		return 1, errors.New("found no test whose name begins with TestIntegration")
	}
	dir, err := os.MkdirTemp("", "millstream-integration")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	c := counts{verbose: verbose}
	for b := range built(packages, dir) {
		fmt.Print(b.said)
		if b.err != nil {
			c.fault("build the tests of "+b.name, b.err)
			continue
		}
		before, began := c, time.Now()
		if err := b.run(&c); err != nil && c.failed == before.failed {
			c.fault("run the tests of "+b.name, err)
		}
		fmt.Printf("%-30s %3d passed, %d failed, %d skipped in %v\n", b.name, c.passed-before.passed, c.failed-before.failed, c.skipped-before.skipped, time.Since(began).Round(time.Second))
	}
	c.tellFailures(os.Stdout)
	fmt.Printf("%d passed, %d failed, %d skipped\n", c.passed, c.failed, c.skipped)
	if c.failed > 0 || c.passed == 0 || (c.skipped > 0 && os.Getenv("INTEGRATION") == "require") {
		return 1, nil
	}
	return 0, nil
}

// fault counts what is no test's own failure.
func (c *counts) fault(what string, err error) {
	said := fmt.Sprintf("FAIL  %s: %v\n", what, err)
	fmt.Print(said)
	c.failures = append(c.failures, said)
	c.failed++
}

// counts counts leaf tests and keeps the output of each until its verdict, and of
// those that failed to the end.
type counts struct {
	verbose                 bool // tells passed tests, too
	passed, failed, skipped int
	output                  map[string]*strings.Builder
	failures                []string
}

// tellFailures repeats the ends of what the failed tests said, at the end, where
// a reader of a long log looks first.
func (c *counts) tellFailures(w io.Writer) {
	const most = 6000 // bytes of each
	for _, f := range c.failures {
		if len(f) > most {
			f = "...\n" + f[len(f)-most:]
		}
		fmt.Fprintf(w, "\n%s", f)
	}
}

func (c *counts) add(e event) {
	key := e.Package + " " + e.Test
	if c.output == nil {
		c.output = map[string]*strings.Builder{}
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
			c.passed++
			if c.verbose {
				fmt.Printf("ok    %s (%s)\n%s", key, took, notes(c.output[key]))
			}
		}
	case "skip":
		if e.Test != "" {
			c.skipped++
			fmt.Printf("skip  %s\n%s", key, c.output[key])
		}
	case "fail":
		if e.Test != "" {
			c.failed++
		}
		if b := c.output[key]; b != nil {
			said := fmt.Sprintf("FAIL  %s (%s)\n%s", key, took, b)
			fmt.Print(said)
			c.failures = append(c.failures, said)
		}
	}
	delete(c.output, key)
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

var integrationTest = regexp.MustCompile(`(?m)^func TestIntegration`)

func packagesWithTests() ([]string, error) {
	var dirs []string
	err := filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if dir := "./" + filepath.ToSlash(filepath.Dir(path)); integrationTest.Match(src) && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
		return nil
	})
	return dirs, err
}
