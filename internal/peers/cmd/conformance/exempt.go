package main

import (
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

//go:embed testdata/*.txt
var testdata embed.FS

// exempt are tests that need not pass, with the reason of each.
type exempt map[string]string

// readExempt reads lines "test: reason". "#" begins a comment.
func readExempt(file string) (exempt, error) {
	b, err := testdata.ReadFile("testdata/" + file)
	if err != nil {
		return nil, err
	}
	list := exempt{}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, why, ok := strings.Cut(line, ": ")
		if !ok {
			return nil, fmt.Errorf("testdata/%s: %q has no reason: want \"test: reason\"", file, line)
		}
		list[name] = why
	}
	return list, nil
}

// reason tells why a failed test is excused: it is listed itself, or it is the
// parent of a listed test (which fails with it).
func (e exempt) reason(name string) (string, bool) {
	if why, ok := e[name]; ok {
		return why, true
	}
	for listed := range e {
		if strings.HasPrefix(listed, name+"/") {
			return "a sub-test of it is", true
		}
	}
	return "", false
}

// failsOnKafka is the reason that -record writes.
const failsOnKafka = "fails on Apache Kafka 4.3.1"

// writeExempt replaces the list by the innermost tests that failed on Kafka. It
// is called from the module's root, as the Makefile does.
func writeExempt(file string, r *results) error {
	var b strings.Builder
	b.WriteString("# Tests that need not pass, one a line: test, colon, reason.\n# Written by: go run ./internal/peers/cmd/conformance -target kafka -record\n")
	failed := r.with("fail")
	for i, name := range failed {
		if i+1 < len(failed) && strings.HasPrefix(failed[i+1], name+"/") {
			continue
		}
		fmt.Fprintf(&b, "%s: %s\n", name, failsOnKafka)
	}
	return os.WriteFile(filepath.Join("internal/peers/cmd/conformance/testdata", file), []byte(b.String()), 0o644)
}
