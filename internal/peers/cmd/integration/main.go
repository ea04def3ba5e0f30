// Command integration runs the tests that need foreign programs or a lot of
// time (those whose name begins with TestIntegration), one package after the
// other, prints the output of failed tests and each skip with its reason, and
// closes with the line "N passed, N failed, N skipped". Only the Makefile runs
// it. With INTEGRATION=require a skip is a failure.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
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
	code, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "integration:", err)
		code = 1
	}
	os.Exit(code)
}

func run() (int, error) {
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
	args := append([]string{"test", "-json", "-count=1", "-p=1", "-timeout=20m", "-run=^TestIntegration"}, packages...)
	cmd := exec.Command("go", args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 1, err
	}
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	var c counts
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Println(lines.Text())
			continue
		}
		c.add(e)
	}
	if err := errors.Join(lines.Err(), cmd.Wait()); err != nil && c.failed == 0 {
		fmt.Println("go test:", err)
		c.failed++
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", c.passed, c.failed, c.skipped)
	if c.failed > 0 || c.passed == 0 || (c.skipped > 0 && os.Getenv("INTEGRATION") == "require") {
		return 1, nil
	}
	return 0, nil
}

// counts counts leaf tests and keeps the output of each until its verdict.
type counts struct {
	passed, failed, skipped int
	output                  map[string]*strings.Builder
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
			fmt.Printf("ok    %s (%s)\n%s", key, took, notes(c.output[key]))
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
			fmt.Printf("FAIL  %s (%s)\n%s", key, took, b)
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
