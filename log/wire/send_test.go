package wire

import (
	"bytes"
	"crypto/tls"
	"crypto/x509/pkix"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
)

// TestRecordsDoNotPassThroughUserSpace counts the bytes of batches that were
// copied into this process on their way to clients, and those that went from
// the file to the socket in the kernel.
func TestRecordsDoNotPassThroughUserSpace(t *testing.T) {
	if !canSendfile {
		t.Skip("no sendfile on this system")
	}
	ts := newTestServer(t, onDisk(t))
	top := ts.topic("t", 2)
	for range 100 {
		ts.produce("t", 0, strings.Repeat("x", 10_000))
	}
	ts.produce("t", 1, "little")
	want, little := ts.logBytes("t", 0, 0), ts.logBytes("t", 1, 0)
	copied, sent := ts.srv.traffic.copied.Load(), ts.srv.traffic.sent.Load()
	req := fetchRequest(12, top, 0, 0)
	req.MaxBytes = 10 << 20
	req.Topics[0].Partitions[0].PartitionMaxBytes = 10 << 20
	resp := ts.dial().do(req)
	got := told(resp.(*kmsg.FetchResponse))
	if !bytes.Equal(got[0].RecordBatches, want) || !bytes.Equal(got[1].RecordBatches, little) {
		t.Fatal("the records are not those of the log")
	}
	copied, sent = ts.srv.traffic.copied.Load()-copied, ts.srv.traffic.sent.Load()-sent
	if sent != int64(len(want)) || copied != int64(len(little)) {
		t.Errorf("%d bytes by sendfile and %d copied; expected %d by sendfile, and only the %d of the small partition copied", sent, copied, len(want), len(little))
	}
}

func TestTLSAndOtherFileSystemsCopyThroughPooledBuffers(t *testing.T) {
	cert, key := newTestCA(t, t.TempDir()).issue("server", pkix.Name{CommonName: "server"}, nil)
	for _, where := range []string{"TLS", "memory"} {
		setups := []setup{onDisk(t)}
		if where == "TLS" {
			setups = append(setups, func(_ *broker.Config, w *Config) {
				w.Listeners[0].TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}}
			})
		} else {
			setups = nil
		}
		ts := newTestServer(t, setups...)
		top := ts.topic("t", 1)
		for range 50 {
			ts.produce("t", 0, strings.Repeat("x", 10_000))
		}
		c := ts.dial()
		if where == "TLS" {
			c.Conn = tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true})
		}
		if p := fetched(t, c.do(fetchRequest(12, top, 0))); !bytes.Equal(p.RecordBatches, ts.logBytes("t", 0, 0)) {
			t.Errorf("%s: %d bytes that are not those of the log", where, len(p.RecordBatches))
		}
		if n := ts.srv.traffic.sent.Load(); n != 0 {
			t.Errorf("%s: %d bytes by sendfile", where, n)
		}
	}
}
