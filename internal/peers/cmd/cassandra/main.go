// Command cassandra starts one node of Apache Cassandra 5 on loopback, fetched
// by Maven, for demonstrations outside of tests. Only the Makefile runs it.
//
//	cassandra [-dir DIR] [-- COMMAND ARG...]
//
// With a command it runs that with the node's address for each {} in ARGs and in
// the variable CASSANDRA, ends the node after it and exits with its code. Without
// one it prints "listening on ADDR" and ends at SIGINT or SIGTERM.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/millstream-io/millstream/internal/peers"
)

func main() {
	dir := flag.String("dir", "", "directory of the node's data, kept afterwards (default: a new one, removed afterwards)")
	flag.Parse()
	code, err := run(*dir, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "cassandra:", err)
	}
	os.Exit(code)
}

func run(dir string, command []string) (int, error) {
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	if dir == "" {
		temp, err := os.MkdirTemp("", "millstream-cassandra")
		if err != nil {
			return 1, err
		}
		defer os.RemoveAll(temp)
		dir = temp
	}
	fmt.Fprintln(os.Stderr, "Cassandra starts (the first time Maven fetches 67 MB before; then about 20 s) ...")
	began := time.Now()
	node, err := peers.NewCassandra(dir, peers.CassandraConfig{})
	if err != nil {
		return 1, err
	}
	if err := node.Start(); err != nil {
		return 1, err
	}
	defer node.Stop()
	fmt.Fprintf(os.Stderr, "Cassandra is up after %v, process %d\n", time.Since(began).Round(time.Second), node.PID())
	if len(command) == 0 {
		fmt.Println("listening on", node.Addr())
		<-interrupts
		return 0, nil
	}
	for i := range command {
		command[i] = strings.ReplaceAll(command[i], "{}", node.Addr())
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "CASSANDRA="+node.Addr())
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	go func() {
		for s := range interrupts {
			if s == syscall.SIGTERM { // an interrupt at the terminal reaches the command by itself
				cmd.Process.Signal(s)
			}
		}
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}
