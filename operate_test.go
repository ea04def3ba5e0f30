package millstream

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestOperateNamesErrorsThatExist holds the table of errors in docs/operate.md
// against the code: what it quotes stands in some source file, between the
// places where a value is filled in. Messages of the operating system are passed over.
func TestOperateNamesErrorsThatExist(t *testing.T) {
	text, err := os.ReadFile("docs/operate.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "\n| message | meaning | do |\n")
	if !ok {
		t.Fatal("docs/operate.md: found no table of errors")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	source := sourceText(t)
	quoted := regexp.MustCompile("`([^`]+)`")
	filled := regexp.MustCompile(`\.\.\.|\b[NMX]\b`)
	system := map[string]bool{"no space left": true, "input/output error": true, "address already in use": true}
	rows := 0
	for row := range strings.Lines(table) {
		cell, _, _ := strings.Cut(strings.TrimPrefix(row, "| "), " | ")
		for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
			rows++
			for _, part := range filled.Split(m[1], -1) {
				part = strings.Trim(part, " :,")
				if part != "" && !system[part] && !strings.Contains(source, part) {
					t.Errorf("docs/operate.md: the table has %q, but no source file says %q", m[1], part)
				}
			}
		}
	}
	if rows < 10 {
		t.Errorf("docs/operate.md: found %d messages; the pattern no longer fits the table", rows)
	}
}

// sourceText is all production code as one text.
func sourceText(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		all.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}
