// Command integration runs the tests that need foreign programs or a lot of
// time (those whose name begins with TestIntegration), one package after the
// other, prints a line for each package, the output of failed tests and each skip
// with its reason, and closes with the line "N passed, N failed, N skipped". Only
// the Makefile runs it. With -v each passed test is told, with the figures that it
// logged. With INTEGRATION=require a skip is a failure.
//
// These tests wait for other people's servers, on a machine that may be busy. A
// test that failed runs once again at the end, alone, unless more than three
// failed; if it passes then, it counts as passed, and is named, with what it said
// when it failed, before the closing line.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

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
	kept := map[string]binary{} // those with a test that may run again
	for b := range built(packages, dir) {
		fmt.Print(b.said)
		if b.err != nil {
			c.fault("build the tests of "+b.name, b.err)
			continue
		}
		before, began := c.sum(), time.Now()
		if err := b.run(&c, "^TestIntegration"); err != nil {
			c.fault("run the tests of "+b.name, err)
		}
		got := c.sum()
		fmt.Printf("%-30s %3d passed, %d failed, %d skipped in %v\n", b.name, got.passed-before.passed, got.failed-before.failed, got.skipped-before.skipped, time.Since(began).Round(time.Second))
		if kept[b.path] = b; got.failed == before.failed {
			if err := os.Remove(b.file); err != nil {
				return 1, err
			}
		}
	}
	for _, k := range c.again() {
		second := counts{verbose: verbose}
		if err := kept[k.pkg].run(&second, "^"+k.test+"$"); err != nil {
			second.fault("run the tests of "+kept[k.pkg].name, err)
		}
		c.secondTry(k, &second)
	}
	c.tellFailures(os.Stdout)
	sum := c.sum()
	fmt.Printf("%d passed, %d failed, %d skipped\n", sum.passed, sum.failed, sum.skipped)
	if sum.failed > 0 || sum.passed == 0 || (sum.skipped > 0 && os.Getenv("INTEGRATION") == "require") {
		return 1, nil
	}
	return 0, nil
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
