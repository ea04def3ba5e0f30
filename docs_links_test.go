package millstream

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	mdLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	mdHeading = regexp.MustCompile(`(?m)^#{1,6}[ \t]+(.+?)[ \t]*$`)
	mdCode    = regexp.MustCompile("`[^`\n]*`")
)

// TestDocsLinksResolve follows every relative link, and every anchor, of the
// README, the docs and the examples' READMEs.
func TestDocsLinksResolve(t *testing.T) {
	links := 0
	for _, page := range docFiles(t) {
		text := mdCode.ReplaceAllString(fence.ReplaceAllString(readPage(t, page), ""), "`")
		for _, m := range mdLink.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			links++
			path, anchor, _ := strings.Cut(m[1], "#")
			target := page
			if path != "" {
				target = filepath.Join(filepath.Dir(page), path)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s: there is no %s", page, m[1], target)
				continue
			}
			if anchor != "" && !anchors(readPage(t, target))[anchor] {
				t.Errorf("%s links to %s: %s has no heading with that anchor", page, m[1], target)
			}
		}
	}
	if links < 50 {
		t.Errorf("found only %d links; the pattern no longer fits the pages", links)
	}
}

// anchors are the anchors of a page's headings, made as GitHub makes them.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for _, m := range mdHeading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		var b strings.Builder
		for _, r := range strings.ToLower(m[1]) {
			switch {
			case r == ' ' || r == '-':
				b.WriteByte('-')
			case r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				b.WriteRune(r)
			}
		}
		found[b.String()] = true
	}
	return found
}
