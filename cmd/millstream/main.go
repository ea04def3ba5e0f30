// Command millstream is the one binary beside the library: it verifies and
// dumps data directories, measures, and shows the settings in force. A file
// holds one verb.
//
// Exit codes: 0 fine, 1 failed, 2 wrong usage. Data goes to stdout, everything
// else to stderr; -o json makes the data a program's.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// usageError is a wrong command line or setting: exit code 2.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errFound ends a command that did its work and found something wrong: it has
// printed what, so nothing is added.
var errFound = errors.New("found errors")

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		complain(stderr, err)
		return 2
	case errors.Is(err, errFound):
		return 1
	}
	complain(stderr, err)
	return 1
}

// complain prints each of the errors that were joined on a line of its own.
func complain(stderr io.Writer, err error) {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintln(stderr, "millstream:", line)
	}
}
