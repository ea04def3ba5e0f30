package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestThePythonOfTheREADMEAgrees runs the README's program over files made by
// hand and generated ones.
func TestThePythonOfTheREADMEAgrees(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("skipped: no python3 on this machine")
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, program, _ := strings.Cut(string(readme), "```python\n")
	program, _, ok := strings.Cut(program, "\n```")
	if !ok {
		t.Fatal("the README has no Python")
	}
	script := filepath.Join(t.TempDir(), "recompute.py")
	if err := os.WriteFile(script, []byte(program+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	crlf := func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }
	for name, args := range map[string][]string{
		"made by hand": files(t, handOrders, handCustomers),
		"with CRLF":    files(t, crlf(handOrders), "\xef\xbb\xbf"+crlf(handCustomers)),
		"empty":        files(t, "", ""),
		"generated":    generated(t, 30_000, 77),
	} {
		out, err := exec.Command(python, script, args[1], args[3]).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		want := map[string]string{}
		for k, v := range fold(t, args[1], args[3]).rows(t) {
			if strings.HasPrefix(k, dailySalesTable) {
				want[k] = v
			}
		}
		wantRows(t, rowsOf(t, strings.Split(string(out), "\n")), want)
	}
}
