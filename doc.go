// Package millstream holds no code: the root carries the tests that keep the
// repository's rules (layering_test.go, repo_test.go).
//
// Start reading at docs/ARCHITECTURE.md. The packages that a program imports
// are streams (what to compute), runtime/engine (running it), connectors/...
// (the world outside) and, for the log alone, log/broker.
package millstream
