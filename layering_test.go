package millstream

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"sort"
	"strings"
	"testing"
)

const module = "github.com/millstream-io/millstream"

// levels is the dependency table of docs/ARCHITECTURE.md: a package imports
// only packages of lower levels. An entry that ends in "/*" holds every
// package below that folder that has no entry of its own.
var levels = map[string]int{
	"log/vfs": 0, "log/record": 0, "streams/serde": 0, "internal/peers": 0, "internal/nearest": 0, "internal/sysloglines": 0,
	"log/segment": 1, "streams/state": 1, "streams/window": 1,
	"log/internal/*": 2, "streams/processor": 2,
	"log/broker": 3, "streams/topology": 3, "streams/internal/cache": 3, "runtime/internal/logclient": 3, "connectors": 3,
	"log/wire": 4, "log/wire/clients": 5, "streams/internal/op": 4, "runtime/internal/plan": 4,
	"streams": 5, "runtime/internal/assign": 5,
	"streams/alert": 6, "runtime/internal/logclient/*": 6, "runtime/internal/task": 6, "runtime/internal/restore": 6,
	"runtime/badgerstore": 6, "runtime/memstore": 6,
	"runtime/internal/sim": 7,
	"runtime/engine":       8,
	"runtime/metrics":      9, "runtime/streamstest": 9, "runtime/terminal": 9, "runtime/settings": 1, "connectors/*": 9,
	"connectors/connectortest": 10, "examples/*": 10, "cmd/*": 10, "internal/peers/cmd/*": 10,
	// Folders that only carry a package comment, and the root with its tests.
	"": 11, "log": 0, "runtime": 0, "connectors/internal/*": 4,
}

// testOnly packages may import testing; no production package imports them.
var testOnly = []string{"runtime/streamstest", "connectors/connectortest", "internal/peers"}

type goPackage struct {
	ImportPath string
	Imports    []string
}

func TestPackagesImportOnlyLowerLevels(t *testing.T) {
	for _, p := range listPackages(t) {
		from := local(p.ImportPath)
		level, ok := levelOf(from)
		if !ok {
			t.Errorf("package %s has no level: add it to the table here and in docs/ARCHITECTURE.md", from)
			continue
		}
		for _, imp := range p.Imports {
			if imp == "testing" && !isTestOnly(from) {
				t.Errorf("%s imports testing in production code", from)
			}
			if !strings.HasPrefix(imp, module) {
				continue
			}
			checkImport(t, from, level, local(imp))
		}
	}
}

func checkImport(t *testing.T, from string, level int, to string) {
	t.Helper()
	toLevel, ok := levelOf(to)
	switch {
	case !ok:
		t.Errorf("%s imports %s, which has no level", from, to)
	case toLevel >= level && !sameCommand(from, to):
		t.Errorf("%s (level %d) imports %s (level %d): arrows go down only; move the code or pass a function in", from, level, to, toLevel)
	case within(from, "log") && !within(to, "log"), within(from, "streams") && !within(to, "streams"):
		t.Errorf("%s imports %s: log and streams import nothing of ours outside themselves", from, to)
	case isTestOnly(to) && !within(from, "internal/peers/cmd"):
		t.Errorf("%s imports %s, which is for tests only", from, to)
	}
}

// sameCommand allows a command's or an example's own sub-packages.
func sameCommand(from, to string) bool {
	for _, root := range []string{"cmd/", "examples/", "internal/peers/cmd/"} {
		if strings.HasPrefix(from, root) && strings.HasPrefix(to, from+"/") {
			return true
		}
	}
	return false
}

func local(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
}

func within(pkg, folder string) bool { return pkg == folder || strings.HasPrefix(pkg, folder+"/") }

func isTestOnly(pkg string) bool {
	for _, p := range testOnly {
		if pkg == p {
			return true
		}
	}
	return false
}

// levelOf takes the entry of the package itself, else of its nearest "/*" folder.
func levelOf(pkg string) (int, bool) {
	if l, ok := levels[pkg]; ok {
		return l, true
	}
	for dir := pkg; ; {
		i := strings.LastIndexByte(dir, '/')
		if i < 0 {
			return 0, false
		}
		dir = dir[:i]
		if l, ok := levels[dir+"/*"]; ok {
			return l, true
		}
	}
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("go list: %v\n%s", err, exit.Stderr)
	} else if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("go list's output: %v", err)
		}
		pkgs = append(pkgs, p)
	}
	sort.Slice(pkgs, func(i, j int) bool { return pkgs[i].ImportPath < pkgs[j].ImportPath })
	if len(pkgs) < 10 {
		t.Fatalf("go list found %d packages, expected the whole module", len(pkgs))
	}
	return pkgs
}
