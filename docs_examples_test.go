package millstream

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// exampleFunc is an Example of a package's tests.
type exampleFunc struct {
	source []string // its lines, without indentation
	output string
	calls  map[string]bool // the names that it selects: x.Name
}

// examplesOf are the Examples of a package, by name.
func examplesOf(t *testing.T, dir string) map[string]exampleFunc {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]exampleFunc{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, name, text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		outputs := map[string]*doc.Example{}
		for _, e := range doc.Examples(f) {
			outputs["Example"+e.Name] = e
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Example") {
				continue
			}
			e := exampleFunc{calls: map[string]bool{}}
			if o := outputs[fn.Name.Name]; o != nil {
				e.output = o.Output
			}
			from, to := fset.Position(fn.Pos()).Offset, fset.Position(fn.End()).Offset
			e.source = lessIndent(string(text[from:to]))
			ast.Inspect(fn, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					e.calls[s.Sel.Name] = true
				}
				return true
			})
			found[fn.Name.Name] = e
		}
	}
	return found
}

func lessIndent(text string) (lines []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// TestDocsQuoteExamples holds the pages' quotations against the Examples: the
// code is a part of one, the output is what it prints.
func TestDocsQuoteExamples(t *testing.T) {
	packages := map[string]map[string]exampleFunc{}
	quoted := 0
	for _, b := range docBlocks(t) {
		if b.tag != "example" && (b.tag != "output" || b.page == "docs/guide.md") {
			continue
		}
		quoted++
		dir, name, ok := strings.Cut(b.arg, ".")
		if packages[dir] == nil {
			packages[dir] = examplesOf(t, dir)
		}
		e, found := packages[dir][name]
		if !ok || !found {
			t.Errorf("%v: there is no Example %q, expected FOLDER.ExampleName", b, b.arg)
			continue
		}
		switch {
		case b.tag == "example" && !quotes(e.source, lessIndent(b.text)):
			t.Errorf("%v: the code is not a part of %s:\n%s", b, b.arg, strings.Join(e.source, "\n"))
		case b.tag == "output" && strings.TrimSpace(e.output) != strings.TrimSpace(b.text):
			t.Errorf("%v: the page says\n%s\n%s prints\n%s", b, b.text, b.arg, e.output)
		}
	}
	if quoted == 0 {
		t.Error("no page quotes an Example; the pattern no longer fits them")
	}
}

func quotes(all, part []string) bool {
	for i := range all {
		if len(all)-i >= len(part) && slices.Equal(all[i:i+len(part)], part) {
			return len(part) > 0
		}
	}
	return false
}

// withoutExample is what has no Example of its own, with the Example that shows it
// beside others, or the reason in brackets. It may only get shorter.
var withoutExample = map[string]string{
	"streams/alert.Measure.Above": "ExampleAvg",

	"runtime/streamstest.InputWith":   "ExampleIn",
	"runtime/streamstest.ToPartition": "ExampleInput",
	"runtime/streamstest.WithHeader":  "ExampleInput",
	"runtime/streamstest.Output":      "ExampleOut",
	"runtime/streamstest.OutputWith":  "ExampleInput",
	"runtime/streamstest.Latest":      "ExampleOut",
	"runtime/streamstest.KV":          "ExampleOut",
	"runtime/streamstest.AllWindows":  "ExampleFetch",

	"runtime/streamstest.Record.Header": "ExampleInput",
	"runtime/streamstest.Driver.Crash":  "ExampleNew",

	"runtime/streamstest.Driver.StoreView":  "(for engine.Get and its sisters, not for tests)",
	"runtime/streamstest.Running.StoreView": "(for engine.Get and its sisters, not for tests)",
}

// TestPublicVerbsHaveExamples: every exported function and method of the packages
// that programs and their tests are written with has an Example. A function F has
// ExampleF; a method M of T has ExampleT_M, or is called in an Example of T. An
// Example prints what it does (Output), but for those of streamstest, which is
// itself the test.
func TestPublicVerbsHaveExamples(t *testing.T) {
	missing := map[string]bool{}
	all := map[string]exampleFunc{}
	for _, dir := range []string{"streams", "streams/alert", "runtime/streamstest"} {
		examples := examplesOf(t, dir)
		for name, e := range examples {
			all[dir+"."+name] = e
			if e.output == "" && dir != "runtime/streamstest" {
				t.Errorf("%s.%s has no Output: nothing checks it", dir, name)
			}
		}
		for _, verb := range exported(t, dir) {
			if !hasExample(examples, verb) {
				missing[dir+"."+verb] = true
			}
		}
	}
	for verb := range missing {
		if withoutExample[verb] == "" {
			t.Errorf("%s has no Example: write Example%s with its Output", verb, strings.ReplaceAll(verb[strings.Index(verb, ".")+1:], ".", "_"))
		}
	}
	for verb, shown := range withoutExample {
		dir, name, _ := strings.Cut(verb, ".")
		switch {
		case !missing[verb]:
			t.Errorf("%s has an Example, or is gone: take it off withoutExample", verb)
		case shown[0] != '(' && !all[dir+"."+shown].calls[name[strings.LastIndex(name, ".")+1:]]:
			t.Errorf("%s is said to be shown by %s, which does not call it", verb, shown)
		}
	}
}

func hasExample(examples map[string]exampleFunc, verb string) bool {
	recv, method, isMethod := strings.Cut(verb, ".")
	for name, e := range examples {
		// ExampleT_M, ExampleT_M_variant; ExampleF, ExampleF_variant.
		name = strings.TrimPrefix(name, "Example")
		own := strings.ReplaceAll(verb, ".", "_")
		if name == own || strings.HasPrefix(name, own+"_") {
			return true
		}
		if isMethod && (name == recv || strings.HasPrefix(name, recv+"_")) && e.calls[method] {
			return true
		}
	}
	return false
}

// exported are a package's exported functions, F, and methods, T.M.
func exported(t *testing.T, dir string) (verbs []string) {
	t.Helper()
	fset := token.NewFileSet()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			switch {
			case !ok || !fn.Name.IsExported():
			case fn.Recv == nil:
				verbs = append(verbs, fn.Name.Name)
			default:
				var b strings.Builder
				if err := printer.Fprint(&b, fset, fn.Recv.List[0].Type); err != nil {
					t.Fatal(err)
				}
				recv, _, _ := strings.Cut(strings.TrimPrefix(b.String(), "*"), "[")
				if ast.IsExported(recv) {
					verbs = append(verbs, recv+"."+fn.Name.Name)
				}
			}
		}
	}
	return verbs
}
