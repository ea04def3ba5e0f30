package millstream

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

var goBlock = regexp.MustCompile("(?ms)^```go\n(package .*?)^```$")

// TestDocsCodeCompiles builds and vets every complete Go program in the README
// and the docs, in a module of its own, as a reader would.
func TestDocsCodeCompiles(t *testing.T) {
	programs := 0
	for _, doc := range docFiles(t) {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range goBlock.FindAllSubmatch(text, -1) {
			programs++
			t.Run(filepath.Base(doc), func(t *testing.T) { vetAlone(t, m[1]) })
		}
	}
	if programs == 0 {
		t.Error("found no Go program in the README and docs; the pattern no longer fits them")
	}
}

func docFiles(t *testing.T) []string {
	t.Helper()
	files := []string{"README.md"}
	for _, pattern := range []string{"docs/*.md", "docs/*/*.md", "examples/*/README.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	return files
}

func vetAlone(t *testing.T, src []byte) {
	t.Helper()
	dir := readersModule(t)
	if err := os.WriteFile(filepath.Join(dir, "main.go"), src, 0o644); err != nil {
		t.Fatal(err)
	}
	inModule(t, dir, "go vet -mod=mod .")
}
