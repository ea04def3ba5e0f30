// Package runtime holds no code: the folder groups what runs a topology on a log.
//
// It exports nothing because its name shadows the standard library's runtime.
// Start at engine (New, Run, Close).
package runtime
