package file_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/connectors/connectortest"
	"github.com/millstream-io/millstream/connectors/file"
)

func TestTheContractOfASource(t *testing.T) {
	dir := t.TempDir()
	var want []string
	for i := range 9000 {
		want = append(want, fmt.Sprintf("line %d %s", i, strings.Repeat("x", i%97)))
	}
	path := filepath.Join(dir, "in.log")
	if err := os.WriteFile(path, []byte(strings.Join(want, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	connectortest.SourceSuite{
		Source:        func(testing.TB) connectors.Source { return file.New(file.Config{Path: path}) },
		Want:          want,
		WrongPosition: []byte("no position"),
		Elsewhere: func(testing.TB) connectors.Source {
			return file.New(file.Config{Path: filepath.Join(dir, "missing.log")})
		},
	}.Run(t)
}
