package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"log/slog"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

// testServer is a server over a broker in memory, on a free port of loopback.
// The test's end closes both and fails if the closing does.
type testServer struct {
	t    testing.TB
	b    *broker.Broker
	srv  *Server
	addr string
	logs *logLines
	stop func() // ends the server, which drains; the test's end does so too

	ended chan struct{} // closed once it has
}

// setup changes the configurations of a test server before it starts.
type setup func(*broker.Config, *Config)

// newTestServer starts a server. Without setups: vfs.Mem, no background work
// (maintenance and ticks only by hand), one plaintext listener, no authentication.
func newTestServer(t testing.TB, setups ...setup) *testServer {
	t.Helper()
	ts := &testServer{t: t, logs: &logLines{}}
	logger := slog.New(slog.NewTextHandler(ts.logs, nil))
	bc := broker.Config{Dir: "data", FS: vfs.NewMem(), MaintenanceInterval: -1, TickInterval: -1, Logger: logger, BootID: "test"}
	wc := Config{Listeners: []Listener{{Addr: "127.0.0.1:0"}}, Logger: logger}
	for _, f := range setups {
		f(&bc, &wc)
	}
	var err error
	if ts.b, err = broker.Open(bc); err != nil {
		t.Fatal(err)
	}
	wc.Broker = ts.b
	if ts.srv, err = New(wc); err != nil {
		t.Fatal(err)
	}
	if err := ts.srv.Listen(); err != nil {
		t.Fatal(err)
	}
	ts.addr = ts.srv.Addrs()[0].String()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	ts.stop, ts.ended = cancel, make(chan struct{})
	go func() {
		served <- ts.srv.Serve(ctx)
		close(ts.ended)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil && !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
		if err := ts.b.Close(); err != nil {
			t.Errorf("broker Close: %v", err)
		}
	})
	return ts
}

// onDisk puts the broker on the operating system's files, for sendfile.
func onDisk(t testing.TB) setup {
	dir := t.TempDir()
	return func(b *broker.Config, _ *Config) { b.FS, b.Dir = vfs.OS(), dir }
}

// topic makes a topic.
func (ts *testServer) topic(name string, partitions int32, configs ...string) broker.Topic {
	ts.t.Helper()
	spec := broker.TopicSpec{Name: name, Partitions: partitions, Configs: map[string]string{}}
	for i := 0; i < len(configs); i += 2 {
		spec.Configs[configs[i]] = configs[i+1]
	}
	top, err := ts.b.CreateTopic(spec)
	if err != nil {
		ts.t.Fatal(err)
	}
	return top
}

// kgo makes a franz-go client.
func (ts *testServer) kgo(opts ...kgo.Opt) *kgo.Client {
	ts.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(ts.addr)}, opts...)...)
	if err != nil {
		ts.t.Fatal(err)
	}
	ts.t.Cleanup(cl.Close)
	return cl
}

// dial opens a raw connection.
func (ts *testServer) dial() *rawConn {
	ts.t.Helper()
	nc, err := net.Dial("tcp", ts.addr)
	if err != nil {
		ts.t.Fatal(err)
	}
	ts.t.Cleanup(func() { _ = nc.Close() })
	return &rawConn{t: ts.t, Conn: nc}
}

// rawConn speaks single requests, without any cleverness of a client.
type rawConn struct {
	net.Conn
	t    testing.TB
	corr int32
}

// do sends a request at the version set in it and reads its answer.
func (c *rawConn) do(req kmsg.Request) kmsg.Response {
	c.t.Helper()
	c.write(req)
	return c.read(req)
}

// write sends a request and returns its correlation id.
func (c *rawConn) write(req kmsg.Request) int32 {
	c.t.Helper()
	c.corr++
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID("raw"))
	if _, err := c.Write(f.AppendRequest(nil, req, c.corr)); err != nil {
		c.t.Fatalf("write %s: %v", kmsg.NameForKey(req.Key()), err)
	}
	return c.corr
}

// read reads the answer to req, which must be the next one.
func (c *rawConn) read(req kmsg.Request) kmsg.Response {
	c.t.Helper()
	_, resp, err := c.tryRead(req)
	if err != nil {
		c.t.Fatalf("answer to %s v%d: %v", kmsg.NameForKey(req.Key()), req.GetVersion(), err)
	}
	return resp
}

func (c *rawConn) tryRead(req kmsg.Request) (correlation int32, resp kmsg.Response, err error) {
	var size [4]byte
	if _, err := io.ReadFull(c.Conn, size[:]); err != nil {
		return 0, nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c.Conn, b); err != nil {
		return 0, nil, err
	}
	correlation = int32(binary.BigEndian.Uint32(b))
	b = b[4:]
	if req.IsFlexible() && req.Key() != keyApiVersions {
		b = b[1:]
	}
	resp = req.ResponseKind()
	return correlation, resp, resp.ReadFrom(b)
}

// closed reads until the server closes the connection and returns how many bytes came.
func (c *rawConn) closed() int64 {
	n, _ := io.Copy(io.Discard, c.Conn)
	return n
}

// versions calls f with a new request of the kind at each version served.
func versions(t *testing.T, key int16, f func(t *testing.T, version int16)) {
	t.Helper()
	for i := range apis {
		if apis[i].key != key {
			continue
		}
		for v := apis[i].min; v <= apis[i].max; v++ {
			f(t, v)
		}
		return
	}
	t.Fatalf("key %d is not served", key)
}

// batchOf builds one record batch of values, without keys.
func batchOf(t testing.TB, values ...string) []byte {
	t.Helper()
	b := record.NewBuilder()
	for i, v := range values {
		b.Append(&record.View{Value: []byte(v), Timestamp: int64(1_700_000_000_000 + i)})
	}
	raw, err := b.Finish(record.None)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// setCRC makes the checksum of a batch right again after a test changed its bytes.
func setCRC(batch []byte) {
	binary.BigEndian.PutUint32(batch[17:], crc32.Checksum(batch[21:], crc32.MakeTable(crc32.Castagnoli)))
}
