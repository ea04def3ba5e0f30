package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/millstream-io/millstream/internal/peers"
)

// idle measures each broker alone: from its start to the first answered metadata
// request, and its memory two seconds later.
func (b *bench) idle() error {
	start := figure{Name: "start to first metadata", Unit: "ms"}
	memory := figure{Name: "idle memory (RSS)", Unit: "MB"}
	var ours, rss []float64
	for i := range 5 {
		ms, mb, err := b.startOnce(filepath.Join(b.dir, "idle-"+strconv.Itoa(i)))
		if err != nil {
			return err
		}
		ours, rss = append(ours, ms), append(rss, mb)
	}
	jars, err := peers.FindKafka()
	if err != nil {
		return err
	}
	dir := filepath.Join(b.dir, "idle-kafka")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	k, err := peers.NewKafkaBroker(jars, dir, peers.KafkaConfig{Heap: "1G"})
	if err != nil {
		return err
	}
	defer k.Kill()
	k.Stop() // what was measured so far includes the formatting
	began := time.Now()
	if err := k.Start(); err != nil {
		return err
	}
	start.Kafka = float64(time.Since(began).Microseconds()) / 1000
	<-time.After(2 * time.Second)
	if memory.Kafka, err = peers.ResidentMB(k.PID()); err != nil {
		return err
	}
	start.Millstream, memory.Millstream = peers.Median(ours), peers.Median(rss)
	for _, f := range []*figure{&start, &memory} {
		f.Ratio = f.Millstream / f.Kafka
		f.Ratios = []float64{f.Ratio}
		b.figures = append(b.figures, *f)
	}
	return nil
}

// startOnce starts `millstream serve` on an empty directory.
func (b *bench) startOnce(dir string) (ms, mb float64, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, 0, err
	}
	addr := ln.Addr().String()
	ln.Close()
	cmd := exec.Command(b.binary, "serve", "--data-dir", dir, "--listen", addr)
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}()
	for !answersMetadata(addr) {
		if time.Since(began) > 10*time.Second {
			return 0, 0, fmt.Errorf("millstream serve does not answer on %s", addr)
		}
		<-time.After(time.Millisecond)
	}
	ms = float64(time.Since(began).Microseconds()) / 1000
	<-time.After(2 * time.Second)
	mb, err = peers.ResidentMB(cmd.Process.Pid)
	return ms, mb, err
}

// answersMetadata asks for Metadata v1 of no topics.
func answersMetadata(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	request := []byte{0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0}
	if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(request))), request...)); err != nil {
		return false
	}
	var head [12]byte
	_, err = io.ReadFull(conn, head[:])
	return err == nil
}
