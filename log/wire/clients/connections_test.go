package clients

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sys/unix"

	"github.com/millstream-io/millstream/internal/peers"
)

// TestTortureTenThousandConnections: each of them is answered, again when all are
// there, in bounded memory, and another client produces and consumes beside them.
// The server has a process of its own: one process may not have descriptors for
// both ends.
func TestTortureTenThousandConnections(t *testing.T) {
	if os.Getenv("TORTURE") == "" {
		t.Skip("10,000 connections run in `make torture`; log/wire has 1,000 in `make test`")
	}
	t.Setenv("INTEGRATION", "1")
	const n, mostBytes = 10_000, 32 << 10
	limit := unix.Rlimit{}
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Max < n+500 {
		t.Fatalf("room for %d open files (%v), expected %d: ulimit -n", limit.Max, err, n+500)
	}
	s := peers.StartServe(t)
	conns := make([]net.Conn, n)
	var err error
	if conns[0], err = net.Dial("tcp", s.Addr()); err == nil {
		err = versions(conns[0])
	}
	before, merr := peers.ResidentMB(s.PID())
	if err != nil || merr != nil {
		t.Fatal(err, merr)
	}
	for i := 1; i < n; i++ {
		if conns[i], err = net.Dial("tcp", s.Addr()); err == nil {
			err = versions(conns[i])
		}
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	after, err := peers.ResidentMB(s.PID())
	if err != nil {
		t.Fatal(err)
	}
	each := int((after - before) * (1 << 20) / n)
	if each > mostBytes {
		t.Errorf("a connection takes %d bytes of the server's memory, expected at most %d", each, mostBytes)
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.Addr()), kgo.ConsumeTopics("beside"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, 1, 1, nil, "beside"); err != nil {
		t.Fatal(err)
	}
	const records = 1000
	for i := range records {
		cl.Produce(ctx, &kgo.Record{Topic: "beside", Value: fmt.Append(nil, i)}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Errorf("record %d: %v", i, err)
			}
		})
	}
	for got := 0; got < records; {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			t.Fatalf("after %d records: %v", got, err)
		}
		got += fs.NumRecords()
	}
	for i, c := range conns {
		if err := versions(c); err != nil {
			t.Fatalf("connection %d of %d, when all were there: %v", i, n, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d connections, %d bytes of the server's memory each (%.0f MB, then %.0f MB)", n, each, before, after)
}

// versions sends ApiVersions 0 and reads its answer.
func versions(c net.Conn) error {
	const correlation = 7
	request := []byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, correlation, 0xff, 0xff} // no client id
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.Write(request); err != nil {
		return err
	}
	var head [10]byte // size, correlation id, error
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return err
	}
	if head[7] != correlation || head[8] != 0 || head[9] != 0 {
		return fmt.Errorf("answered % x", head)
	}
	_, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(head[:4]))-6)
	return err
}
