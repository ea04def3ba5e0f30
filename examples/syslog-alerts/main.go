// Command syslog-alerts counts syslog lines that contain a text, per host or per
// source and window, and prints an alert for each window that reaches a
// threshold: from a file, from UDP and TCP, or from a demonstration's own lines.
//
// README.md shows it. flags.go is the command line, topology.go what is
// computed; input.go, live.go and demo.go are the three ways to run it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// stdio is where a run reads and prints: data on out, everything else on err.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills
	os.Exit(run(ctx, os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr}))
}

// run is the program. Exit codes: 0 fine, 1 failed, 2 wrong usage.
func run(ctx context.Context, args []string, std stdio) int {
	c, err := parseFlags(args, std.out)
	if err == nil {
		switch {
		case c.demo:
			err = runDemo(ctx, c, std, demoLines)
		case c.input != "":
			err = runInput(ctx, c, std)
		default:
			err = runLive(ctx, c, std)
		}
	}
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	fmt.Fprintln(std.err, "syslog-alerts:", strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' }), "; "))
	if errors.As(err, new(usageError)) {
		return 2
	}
	return 1
}
