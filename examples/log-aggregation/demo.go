package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/connectors/console"
)

// demoFiles are log files of three hosts, by name.
var demoFiles = map[string]string{
	"web-1.log": `<30>Nov 21 10:00:01 web-1 nginx[11]: started
<30>Nov 21 10:00:02 web-1 nginx[11]: GET / 200
<27>Nov 21 10:00:03 web-1 nginx[11]: upstream timed out
`,
	"web-2.log": `<30>Nov 21 10:00:01 web-2 nginx[12]: started
<28>Nov 21 10:00:04 web-2 nginx[12]: 512 connections are nearly all there are
`,
	"db-1.log": `<134>1 2026-11-21T10:00:01Z db-1 postgres 21 - - ready to accept connections
<130>1 2026-11-21T10:00:05Z db-1 postgres 21 - - could not write to the disk
`,
}

// demoSent is what comes over TCP: of a host that has no file, and of one that
// has one.
const demoSent = `<30>Nov 21 10:00:02 web-1 nginx[11]: GET /cart 200
<27>Nov 21 10:00:06 web-1 nginx[11]: upstream timed out
<189>Nov 21 10:00:02 switch-1 link: port 7 is up
<187>Nov 21 10:00:07 switch-1 link: port 7 is down
`

// demo counts the lines of its own files and of its own socket, and prints the
// counts, by host, when it has all.
func demo(ctx context.Context, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "log-aggregation-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	lines := int64(strings.Count(demoSent, "\n"))
	for name, text := range demoFiles {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
		lines += int64(strings.Count(text, "\n"))
	}

	c := config{dir: filepath.Join(dir, "data"), files: filepath.Join(dir, "*.log"), tcp: "127.0.0.1:0"}
	sources, listener, err := c.sources(false)
	if err != nil {
		return err
	}
	defer listener.Close()
	if err := send(listener.TCPAddr().String(), demoSent); err != nil {
		return err
	}
	running, done := context.WithCancel(ctx)
	defer done()
	latest := map[string]Counts{} // the sink's, until run returns
	counted := func() (sum int64) {
		for _, n := range latest {
			sum += n.total()
		}
		return sum
	}
	err = c.run(running, sources, console.Config{
		Writer: io.Discard,
		Format: func(dst []byte, r *connectors.Record) ([]byte, error) {
			n, err := decodeCounts(r.Value)
			latest[string(r.Key)] = n
			return dst, err
		},
		Written: func([]connectors.Record) {
			if counted() == lines {
				done()
			}
		},
	})
	if err != nil {
		return err
	}
	if n := counted(); n != lines {
		return fmt.Errorf("stopped after %d of %d lines", n, lines)
	}
	for _, host := range slices.Sorted(maps.Keys(latest)) {
		if _, err := out.Write(appendCounts(nil, host, latest[host])); err != nil {
			return err
		}
	}
	return nil
}

// send writes lines to a TCP socket.
func send(addr, lines string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	_, err = io.WriteString(conn, lines)
	return errors.Join(err, conn.Close())
}
