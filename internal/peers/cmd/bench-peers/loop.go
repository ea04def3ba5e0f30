package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/millstream-io/millstream/internal/peers"
)

// The bare loop: a process of its own that sends the segments which millstream
// has just written, by sendfile, to a client that throws them away. It is the
// least that a broker could do.

// loopChunk is what a fetch of the client asks for at most of one partition.
const loopChunk = 4 << 20

// serveFiles sends every segment below dir to whoever connects.
func serveFiles(dir string) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	for {
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		if err := sendAll(conn.(*net.TCPConn), dir); err != nil {
			return err
		}
	}
}

func sendAll(conn *net.TCPConn, dir string) error {
	defer conn.Close()
	names, err := filepath.Glob(filepath.Join(dir, topic+"-*", "*.log"))
	if err != nil {
		return err
	}
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		for {
			n, err := conn.ReadFrom(io.LimitReader(f, loopChunk)) // sendfile
			if err != nil {
				f.Close()
				return err
			}
			if n < loopChunk {
				break
			}
		}
		f.Close()
	}
	return nil
}

// loop measures it over what the last run against millstream left.
func (b *bench) loop(m measurement) (sample, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "-sendfile-server", b.serve.DataDir())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, err
	}
	before, err := peers.CPUSeconds(cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	for range 3 { // as often as `bench consume --rounds 3`
		if err := drink(strings.TrimSpace(addr)); err != nil {
			return nil, err
		}
	}
	took := time.Since(began).Seconds()
	after, err := peers.CPUSeconds(cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	values := 3 * float64(b.records(m)) * float64(m.size)
	name := "consume" + m.name[len("produce"):]
	return sample{name + ", throughput": values / took / 1e6, name + ", broker's CPU": (after - before) / (values / 1e9)}, nil
}

// drink reads all that the loop has.
func drink(addr string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	buf := make([]byte, 256<<10)
	for {
		if _, err := conn.Read(buf); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// warmUp lets Kafka's compiler see the hot paths once; both get the same.
func (b *bench) warmUp() error {
	fmt.Fprintln(os.Stderr, "warming up")
	for range 2 {
		for _, p := range []peer{{addr: b.kafka.Addr(), pid: b.kafka.PID()}, {addr: b.serve.Addr(), pid: b.serve.PID()}} {
			if _, err := b.once(measurement{name: "produce warm-up", verb: "produce", size: 100, codec: "none", consume: true}, p); err != nil {
				return err
			}
		}
	}
	return nil
}
