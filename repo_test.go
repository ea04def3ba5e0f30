package millstream

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const (
	maxFileLines     = 1000
	maxFunctionLines = 100
)

// longFiles and longFunctions are the exceptions to the bounds above. The
// lists may only shrink: a new entry needs a reason that a reviewer accepts.
var (
	longFiles     = map[string]int{}
	longFunctions = map[string]int{}
)

// steppedPackages have no clock and no randomness of their own (docs/ARCHITECTURE.md).
var steppedPackages = []string{
	"log/record", "log/segment", "log/internal/group", "log/internal/txn",
	"streams", "streams/serde", "streams/window", "streams/state", "streams/processor", "streams/topology",
	"streams/internal/op", "streams/internal/cache",
	"runtime/internal/plan", "runtime/internal/task", "runtime/internal/restore",
}

// forbiddenCalls maps a call that stepped packages may not make to what they do instead.
var forbiddenCalls = map[string]string{
	"time.Now":   "take `now` as an argument",
	"time.Since": "take `now` as an argument",
	"time.Sleep": "return when the next event is due",
	"time.After": "return when the next event is due",
	"rand.Int":   "take a *rand.Rand", "rand.Intn": "take a *rand.Rand", "rand.Float64": "take a *rand.Rand",
	"rand.Perm": "take a *rand.Rand", "rand.Shuffle": "take a *rand.Rand", "rand.Int63": "take a *rand.Rand",
}

func TestRepositoryRules(t *testing.T) {
	documented := map[string]bool{} // folder: has a package comment
	for _, name := range goFiles(t) {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.ToSlash(filepath.Dir(name))
		test := strings.HasSuffix(name, "_test.go")
		if !test {
			documented[dir] = documented[dir] || (f.Doc != nil && len(f.Doc.Text()) > 40)
		}
		checkLength(t, name, strings.Count(string(src), "\n"))
		checkFunctions(t, fset, name, f)
		checkImports(t, name, f)
		checkCalls(t, fset, name, f, test, contains(steppedPackages, dir))
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s has no package comment: say what it is, what it is not, who calls it, and how concurrently", dir)
		}
	}
}

func checkLength(t *testing.T, name string, lines int) {
	t.Helper()
	if limit := max(maxFileLines, longFiles[name]); lines > limit {
		t.Errorf("%s has %d lines, at most %d: split it by concern", name, lines, limit)
	}
	if n, ok := longFiles[name]; ok && lines < n {
		t.Errorf("%s shrank to %d lines: lower its entry in longFiles", name, lines)
	}
}

func checkFunctions(t *testing.T, fset *token.FileSet, name string, f *ast.File) {
	t.Helper()
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		lines := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line + 1
		key := name + ":" + fn.Name.Name
		if limit := max(maxFunctionLines, longFunctions[key]); lines > limit {
			t.Errorf("%s: function %s has %d lines, at most %d: name its parts", name, fn.Name.Name, lines, limit)
		}
	}
}

func checkImports(t *testing.T, name string, f *ast.File) {
	t.Helper()
	for _, imp := range f.Imports {
		path, _ := strconv.Unquote(imp.Path.Value)
		if path == "log" {
			t.Errorf("%s imports the standard library's log: take a *slog.Logger", name)
		}
		if imp.Name != nil && imp.Name.Name == "_" && !strings.HasSuffix(path, "/pprof") && path != "embed" {
			t.Errorf("%s has a blank import of %s: a dependency is used or it is not there", name, path)
		}
	}
}

func checkCalls(t *testing.T, fset *token.FileSet, name string, f *ast.File, test, stepped bool) {
	t.Helper()
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		pkg, ok := sel.X.(*ast.Ident)
		if !ok {
			return true
		}
		what := pkg.Name + "." + sel.Sel.Name
		switch {
		case test && what == "time.Sleep":
			t.Errorf("%s: %s in a test: wait for a condition, or use testing/synctest", fset.Position(call.Pos()), what)
		case stepped && !test && forbiddenCalls[what] != "":
			t.Errorf("%s: %s in a stepped package: %s", fset.Position(call.Pos()), what, forbiddenCalls[what])
		}
		return true
	})
}

// goFiles lists the repository's Go files as slash-separated paths from the root.
func goFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "bin") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".go") {
			files = append(files, filepath.ToSlash(path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("found %d Go files, expected the whole repository", len(files))
	}
	return files
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// TestNoMachinePathsOrHosts keeps what belongs to one machine out of the repository.
func TestNoMachinePathsOrHosts(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("skipped: no git here to list the tracked files")
	}
	if err := exec.Command("git", "rev-parse", "--is-inside-work-tree").Run(); err != nil {
		t.Skip("skipped: not a git checkout")
	}
	// Written apart so that this file does not match itself.
	pattern := strings.Join([]string{"/wo" + "rk/", "/ro" + "ot/", "proxy.gol" + "ang.org", "repo1.mav" + "en", "repo.mav" + "en.apache"}, "|")
	out, _ := exec.Command("git", "grep", "-n", "-I", "-E", pattern, "--", ".").Output()
	if len(out) > 0 {
		t.Errorf("paths of a machine or hosts of registries in tracked files:\n%s", out)
	}
}
