package millstream

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"
)

// A fenced block of a page. What follows the language in its first line says
// what holds for it:
//
//	```go                      a program (package ...), or a fragment: see docs_fragment_test.go
//	```go prelude              what fragments take for granted; in docs/operators/README.md
//	```go file=NAME            a file of the guide's program: see guide_test.go
//	```go example=PKG.Example  a part of that Example of the package PKG (a folder)
//	```text output=PKG.Example what that Example prints, as its test holds it
//
// What is Go and does not compile is no block of Go: it is marked ```text.
type docBlock struct {
	page string
	line int
	lang string
	tag  string // "example", "output", "file", "prelude" or ""
	arg  string
	text string
}

func (b docBlock) String() string { return fmt.Sprintf("%s:%d", b.page, b.line) }

var fence = regexp.MustCompile("(?ms)^```([^\n`]*)\n(.*?)^```[ \t]*$")

// docBlocks are all blocks of all pages, in order.
func docBlocks(t *testing.T) (blocks []docBlock) {
	t.Helper()
	for _, page := range docFiles(t) {
		text := readPage(t, page)
		for _, m := range fence.FindAllStringSubmatchIndex(text, -1) {
			b := docBlock{page: page, line: strings.Count(text[:m[0]], "\n") + 1, text: text[m[4]:m[5]]}
			lang, rest, _ := strings.Cut(strings.TrimSpace(text[m[2]:m[3]]), " ")
			b.lang = lang
			b.tag, b.arg, _ = strings.Cut(rest, "=")
			blocks = append(blocks, b)
		}
	}
	return blocks
}

// docFiles are the README, every page below docs and the examples' READMEs.
func docFiles(t *testing.T) []string {
	t.Helper()
	files := []string{"README.md"}
	for _, root := range []string{"docs", "examples"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && filepath.Ext(path) == ".md" {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	sort.Strings(files[1:])
	return files
}

func readPage(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestDocsCodeCompiles vets all Go code in the README and the docs, in one module of
// its own, as a reader would. Vet checks all types, which finds what does not
// compile; to make and link the programs would take ten times as long, and
// TestTheGuideWorks does it for one.
func TestDocsCodeCompiles(t *testing.T) {
	var prelude string
	pages := map[string][]docBlock{} // the fragments
	programs := 0
	dir := readersModule(t)
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range docBlocks(t) {
		switch {
		case b.lang != "go":
		case b.tag == "file":
			if b.page != "docs/guide.md" {
				t.Errorf("%v: file= belongs to docs/guide.md, whose program is built as a whole", b)
			}
		case strings.Contains("\n"+b.text, "\npackage "):
			programs++
			place := fmt.Sprintf("//line %s:%d\n", b.page, b.line+1)
			write(fmt.Sprintf("programs/p%d/%s", programs, programFile(b.text)), place+b.text)
		case b.tag == "prelude":
			prelude += b.text
		case b.tag == "" || b.tag == "example":
			pages[b.page] = append(pages[b.page], b)
		default:
			t.Errorf("%v: unknown mark %q on a block of Go", b, b.tag)
		}
	}
	if programs == 0 || len(pages) == 0 || prelude == "" {
		t.Fatalf("found %d programs, %d pages with fragments, a prelude of %d bytes; the patterns no longer fit the docs", programs, len(pages), len(prelude))
	}
	shared, err := withImports(prelude)
	if err != nil {
		t.Fatal(err)
	}
	write("pages/prelude.go", shared)
	for page, blocks := range pages {
		name := strings.NewReplacer("/", "_", ".md", "", "-", "_").Replace(page)
		text, alone, err := fragmentFile(prelude, name, blocks)
		switch {
		case err != nil:
			t.Error(err)
		case alone:
			write(name+"/snippets.go", text)
		default:
			write("pages/"+name+"_page.go", text) // "_page": a name may end in that of a system
		}
	}
	if t.Failed() {
		return
	}
	inModule(t, dir, "go vet -mod=mod ./...")
}

func programFile(text string) string {
	if strings.Contains(text, "\nfunc Test") {
		return "main_test.go"
	}
	return "main.go"
}
