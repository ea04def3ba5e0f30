package millstream

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"sort"
	"strconv"
	"strings"
)

// A fragment of Go in a page is a list of declarations or of statements.
// Declarations hold for the rest of their page; each list of statements becomes a
// function of its own. Imports are made from the packages' names (docImports),
// and the prelude declares what fragments take for granted, unless the page
// declares something of that name itself. Variables that a fragment declares and
// does not use are fine: the reader would.

// docImports are the packages that fragments use by name.
var docImports = map[string]string{
	"bytes": "bytes", "context": "context", "errors": "errors", "fmt": "fmt", "http": "net/http", "io": "io",
	"json": "encoding/json", "math": "math", "os": "os", "signal": "os/signal", "slices": "slices", "slog": "log/slog",
	"strconv": "strconv", "strings": "strings", "syscall": "syscall", "testing": "testing", "time": "time", "tls": "crypto/tls",

	"streams": module + "/streams", "alert": module + "/streams/alert", "serde": module + "/streams/serde",
	"topology": module + "/streams/topology", "window": module + "/streams/window", "processor": module + "/streams/processor",
	"engine": module + "/runtime/engine", "metrics": module + "/runtime/metrics", "streamstest": module + "/runtime/streamstest",
	"connectors": module + "/connectors", "console": module + "/connectors/console", "file": module + "/connectors/file",
	"syslog": module + "/connectors/syslog", "webhook": module + "/connectors/webhook", "cassandra": module + "/connectors/cassandra",
	"connectortest": module + "/connectors/connectortest", "broker": module + "/log/broker",
}

// fragmentFile is a Go file of a page's fragments, whose functions' names begin with
// name. Declarations of the page's own need a package of its own, with the prelude
// in the file; alone says so.
func fragmentFile(prelude, name string, blocks []docBlock) (text string, alone bool, err error) {
	var body strings.Builder
	declared := map[string]bool{}
	for i, b := range blocks {
		decls, err := parseFile(b.text)
		if err == nil {
			for _, d := range decls.Decls {
				for _, name := range declNames(d) {
					declared[name] = true
				}
			}
			fmt.Fprintf(&body, "//line %s:%d\n%s\n", b.page, b.line+1, b.text)
			continue
		}
		used, err := statementNames(b.text)
		if err != nil {
			return "", false, fmt.Errorf("%v is neither Go declarations nor statements (mark it as text if it is not meant to compile): %v", b, err)
		}
		fmt.Fprintf(&body, "func %s%d() error {\n//line %s:%d\n%s\n", name, i, b.page, b.line+1, b.text)
		for _, name := range used {
			fmt.Fprintf(&body, "_ = %s\n", name)
		}
		body.WriteString("return nil\n}\n")
	}
	if len(declared) == 0 {
		text, err = withImports(body.String())
		return text, false, err
	}
	pre, err := preludeWithout(prelude, declared)
	if err != nil {
		return "", true, err
	}
	text, err = withImports(pre + body.String())
	return text, true, err
}

// withImports makes a file of declarations.
func withImports(text string) (string, error) {
	file, err := parseFile(text)
	if err != nil {
		return "", err
	}
	var head strings.Builder
	head.WriteString("package page\n\nimport (\n")
	for _, path := range importsOf(file) {
		fmt.Fprintf(&head, "\t%q\n", path)
	}
	head.WriteString(")\n\n")
	return head.String() + text, nil
}

func parseFile(text string) (*ast.File, error) {
	return parser.ParseFile(token.NewFileSet(), "", "package p\n"+text, parser.SkipObjectResolution)
}

// statementNames are the variables that a list of statements declares at its top.
func statementNames(text string) (names []string, err error) {
	f, err := parseFile("func _() error {\n" + text + "\nreturn nil\n}")
	if err != nil {
		return nil, err
	}
	for _, s := range f.Decls[0].(*ast.FuncDecl).Body.List {
		switch s := s.(type) {
		case *ast.AssignStmt:
			if s.Tok != token.DEFINE {
				continue
			}
			for _, x := range s.Lhs {
				if id, ok := x.(*ast.Ident); ok && id.Name != "_" {
					names = append(names, id.Name)
				}
			}
		case *ast.DeclStmt:
			if g, ok := s.Decl.(*ast.GenDecl); ok && g.Tok == token.VAR {
				names = append(names, declNames(g)...)
			}
		}
	}
	return names, nil
}

func declNames(d ast.Decl) (names []string) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			names = append(names, d.Name.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				names = append(names, s.Name.Name)
			case *ast.ValueSpec:
				for _, n := range s.Names {
					if n.Name != "_" {
						names = append(names, n.Name)
					}
				}
			}
		}
	}
	return names
}

// preludeWithout is the prelude without the declarations that a page has itself.
func preludeWithout(prelude string, declared map[string]bool) (string, error) {
	fset := token.NewFileSet()
	const head = "package p\n"
	f, err := parser.ParseFile(fset, "", head+prelude, parser.SkipObjectResolution)
	if err != nil {
		return "", fmt.Errorf("the prelude: %w", err)
	}
	var out strings.Builder
	for _, d := range f.Decls {
		keep := true
		for _, name := range declNames(d) {
			keep = keep && !declared[name]
		}
		if keep {
			from, to := fset.Position(d.Pos()).Offset, fset.Position(d.End()).Offset
			out.WriteString((head + prelude)[from:to] + "\n")
		}
	}
	return out.String(), nil
}

// importsOf are the packages of docImports that a file uses: x.Name, where no x is
// declared in it.
func importsOf(f *ast.File) (paths []string) {
	own := map[string]bool{}
	used := map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if id, ok := n.X.(*ast.Ident); ok {
				used[id.Name] = true
			}
		case *ast.AssignStmt:
			for _, x := range n.Lhs {
				if id, ok := x.(*ast.Ident); ok && n.Tok == token.DEFINE {
					own[id.Name] = true
				}
			}
		case *ast.GenDecl:
			for _, name := range declNames(n) {
				own[name] = true
			}
		}
		return true
	})
	for name := range used {
		if path, ok := docImports[name]; ok && !own[name] {
			paths = append(paths, path)
		}
	}
	sort.Slice(paths, func(i, j int) bool { return strconv.Quote(paths[i]) < strconv.Quote(paths[j]) })
	return paths
}
