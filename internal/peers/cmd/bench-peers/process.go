package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/millstream-io/millstream/internal/peers"
)

// ticksPerSecond of /proc/PID/stat: USER_HZ, which is 100 on every Linux that Go runs on.
const ticksPerSecond = 100

// cpuSeconds is what a process has used, in user and kernel mode.
func cpuSeconds(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name in parentheses may hold blanks; utime and stime are fields 14 and 15.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat: %q", pid, b)
	}
	user, uerr := strconv.ParseInt(fields[11], 10, 64)
	system, serr := strconv.ParseInt(fields[12], 10, 64)
	if uerr != nil || serr != nil {
		return 0, fmt.Errorf("/proc/%d/stat: %q", pid, b)
	}
	return float64(user+system) / ticksPerSecond, nil
}

// residentMB is a process's resident memory.
func residentMB(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			return kb * 1024 / 1e6, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no VmRSS", pid)
}

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
	if memory.Kafka, err = residentMB(k.PID()); err != nil {
		return err
	}
	start.Millstream, memory.Millstream = median(ours), median(rss)
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
	mb, err = residentMB(cmd.Process.Pid)
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
