package wire

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
)

// Requests as real clients send them lie in testdata/clients, a file for each
// client, key and version: NAME-KEY-vVERSION.bin, one frame with its size. They
// are seeds of the fuzz targets too. Record them again with
// go test ./log/wire -run ClientsAreRecorded -rewrite.
const vectors = "testdata/clients"

func clientVectors(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(vectors + "/*.bin")
	if err != nil || len(files) == 0 {
		t.Fatalf("no client vectors in %s: %v", vectors, err)
	}
	out := map[string][]byte{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(f)] = b
	}
	return out
}

func TestRequestsOfRealClientsAreReadWhole(t *testing.T) {
	for name, b := range clientVectors(t) {
		h, err := parseHeader(b[4:])
		if err != nil || int(binary.BigEndian.Uint32(b)) != len(b)-4 {
			t.Errorf("%s: %v", name, err)
			continue
		}
		body := h.rest
		req, err := decode(&h, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if req.IsFlexible() {
			if body, err = skipTags(body); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if again := req.AppendTo(nil); !bytes.Equal(again, body) {
			t.Errorf("%s: %d bytes were read, but encode to %d others", name, len(body), len(again))
		}
	}
}

// recorder passes a client's bytes on to a server and keeps the first frame of
// each key and version.
type recorder struct {
	ln  net.Listener
	to  string
	mu  sync.Mutex
	got map[string][]byte
}

func record1(t *testing.T, to string) *recorder {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{ln: ln, to: to, got: map[string][]byte{}}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go r.pass(c)
		}
	}()
	return r
}

func (r *recorder) pass(c net.Conn) {
	defer c.Close()
	s, err := net.Dial("tcp", r.to)
	if err != nil {
		return
	}
	defer s.Close()
	go func() { _, _ = io.Copy(c, s) }()
	in := bufio.NewReader(c)
	for {
		var size [4]byte
		if _, err := io.ReadFull(in, size[:]); err != nil {
			return
		}
		b := append(size[:], make([]byte, binary.BigEndian.Uint32(size[:]))...)
		if _, err := io.ReadFull(in, b[4:]); err != nil {
			return
		}
		name := fmt.Sprintf("%d-v%d", binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:]))
		r.mu.Lock()
		if r.got[name] == nil && len(b) < 2000 {
			r.got[name] = b
		}
		r.mu.Unlock()
		if _, err := s.Write(b); err != nil {
			return
		}
	}
}

func TestClientsAreRecorded(t *testing.T) {
	if !*rewrite {
		t.Skip("records what clients send; run with -rewrite")
	}
	if err := os.MkdirAll(vectors, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, run := range map[string]func(t *testing.T, addr string){"franzgo": runFranzGo, "kafkago": runKafkaGo, "librdkafka": runKcat} {
		r := &recorder{}
		ts := newTestServer(t, func(_ *broker.Config, w *Config) {
			r = record1(t, "")
			w.Listeners[0].Advertised = r.ln.Addr().String()
		})
		r.to = ts.addr
		ts.topic("t", 2)
		run(t, r.ln.Addr().String())
		r.mu.Lock()
		for key, b := range r.got {
			if err := os.WriteFile(filepath.Join(vectors, name+"-"+key+".bin"), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		r.mu.Unlock()
	}
}

func runFranzGo(t *testing.T, addr string) {
	ctx := context.Background()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics("t"), kgo.ConsumerGroup("g"), kgo.DefaultProduceTopic("t"),
		kgo.TransactionalID("x"), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(ctx, kgo.StringRecord("v")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := cl.EndTransaction(ctx, kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	for cl.PollFetches(ctx).NumRecords() == 0 {
	}
	if err := cl.CommitUncommittedOffsets(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := kmsg.NewPtrListGroupsRequest().RequestWith(ctx, cl); err != nil {
		t.Fatal(err)
	}
}

func runKafkaGo(t *testing.T, addr string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	w := &kafkago.Writer{Addr: kafkago.TCP(addr), Topic: "t", BatchTimeout: time.Millisecond, RequiredAcks: kafkago.RequireAll}
	defer w.Close()
	if err := w.WriteMessages(ctx, kafkago.Message{Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	rd := kafkago.NewReader(kafkago.ReaderConfig{Brokers: []string{addr}, GroupID: "g", Topic: "t", StartOffset: kafkago.FirstOffset})
	defer rd.Close()
	if _, err := rd.ReadMessage(ctx); err != nil {
		t.Fatal(err)
	}
}

// runKcat is librdkafka, where it is installed.
func runKcat(t *testing.T, addr string) {
	if _, err := exec.LookPath("kcat"); err != nil {
		t.Logf("kcat is not installed: its files stay as they are")
		return
	}
	produce := exec.Command("kcat", "-P", "-b", addr, "-t", "t", "-p", "0", "-X", "enable.idempotence=true")
	produce.Stdin = strings.NewReader("v\n")
	for _, cmd := range []*exec.Cmd{produce,
		exec.Command("kcat", "-C", "-b", addr, "-t", "t", "-e", "-o", "beginning"),
		exec.Command("kcat", "-b", addr, "-G", "g", "t", "-e", "-X", "auto.offset.reset=earliest"),
		exec.Command("kcat", "-L", "-b", addr),
		exec.Command("kcat", "-Q", "-b", addr, "-t", "t:0:-1"),
	} {
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
		}
	}
}
