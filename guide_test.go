package millstream

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// guideBlock is a block of docs/guide.md that is a file of the reader's, or the
// output of a command of theirs.
var guideBlock = regexp.MustCompile("(?ms)^```\\w+ (file|output)=(\"[^\"]+\"|\\S+)\n(.*?)^```$")

// TestTheGuideWorks does what docs/guide.md tells its reader to do, in a module
// of its own: the files build, pass vet and their tests, and the program prints
// what the guide says; the second run prints nothing.
func TestTheGuideWorks(t *testing.T) {
	text, err := os.ReadFile("docs/guide.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := readersModule(t)
	type run struct{ command, want string }
	var runs []run
	files := 0
	for _, m := range guideBlock.FindAllStringSubmatch(string(text), -1) {
		name := strings.Trim(m[2], `"`)
		if m[1] == "output" {
			runs = append(runs, run{name, m[3]})
			continue
		}
		files++
		if strings.Contains(m[3], module+"/internal/") || strings.Contains(m[3], "/internal/") {
			t.Errorf("%s imports an internal package, which a reader cannot", name)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(m[3]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if files < 4 || len(runs) == 0 {
		t.Fatalf("docs/guide.md: found %d files and %d outputs; the pattern no longer fits it", files, len(runs))
	}
	inModule(t, dir, "go vet -mod=mod ./...")
	inModule(t, dir, "go test -mod=mod ./...")
	for _, r := range runs {
		command := strings.Replace(r.command, "go run ", "go run -mod=mod ", 1)
		if got := inModule(t, dir, command); got != r.want {
			t.Errorf("%s prints\n%s\nthe guide says\n%s", r.command, got, r.want)
		}
		if got := inModule(t, dir, command); got != "" {
			t.Errorf("%s, run again, prints\n%s\nthe guide says that it prints nothing", r.command, got)
		}
	}
}

// readersModule is a new module that requires this one as it stands here.
func readersModule(t *testing.T) string {
	t.Helper()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(mod), "module "+module, "module example.com/reader", 1)
	text = text[:strings.Index(text, "\ntool ")+1] // the tools are the repository's own
	text += "\nrequire " + module + " v0.0.0\n\nreplace " + module + " => " + root + "\n"
	sum, err := os.ReadFile("go.sum")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"go.mod": []byte(text), "go.sum": sum} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// inModule runs a command there and returns what it printed to stdout.
func inModule(t *testing.T, dir, command string) string {
	t.Helper()
	args := strings.Fields(command)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", command, err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.String()
}
