package wire

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/broker"
	"github.com/millstream-io/millstream/log/record"
)

// The benchmarks drive a server in the process with a client that does nothing
// but send prepared bytes and drop what comes, so that the figures are the
// server's and the kernel's. cpu-s/GB counts both ends.

// cpu is the CPU time of the process in seconds.
func cpu() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
}

func reportCPU(b *testing.B, began float64, bytes int64) {
	b.ReportMetric((cpu()-began)/(float64(bytes)/1e9), "cpu-s/GB")
}

// prepared is a request as bytes, with its correlation id at 8.
func prepared(req kmsg.Request) []byte {
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID("bench"))
	return f.AppendRequest(nil, req, 1)
}

// drop reads and forgets one answer.
func drop(r *bufio.Reader) error {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return err
	}
	_, err := r.Discard(int(binary.BigEndian.Uint32(size[:])))
	return err
}

// benchBatch is a batch of about size bytes with values of valueBytes.
func benchBatch(b *testing.B, size, valueBytes int) []byte {
	builder := record.NewBuilder()
	value := []byte(strings.Repeat("x", valueBytes))
	for n := 0; n < max(1, size/valueBytes); n++ {
		builder.Append(&record.View{Value: value, Timestamp: 1_700_000_000_000})
	}
	raw, err := builder.Finish(record.None)
	if err != nil {
		b.Fatal(err)
	}
	return raw
}

func BenchmarkProduce(b *testing.B) {
	for _, c := range []struct {
		name                   string
		partitions, batchBytes int
		acks                   int16
	}{
		{"6x64KiB/acks=1", 6, 64 << 10, 1},
		{"6x64KiB/acks=all", 6, 64 << 10, -1},
		{"1x900KB/acks=1", 1, 900_000, 1},
		{"1x100B/acks=1", 1, 100, 1},
	} {
		b.Run(c.name, func(b *testing.B) { benchProduce(b, c.partitions, c.batchBytes, c.acks) })
	}
}

func benchProduce(b *testing.B, partitions, batchBytes int, acks int16) {
	ts := newTestServer(b, onDisk(b))
	top := ts.topic("t", int32(partitions), "retention.bytes", "100000000", "segment.bytes", "50000000")
	batch := benchBatch(b, batchBytes, 100)
	req := produceRequest(9, top, 0, acks, batch)
	for n := 1; n < partitions; n++ {
		p := req.Topics[0].Partitions[0]
		p.Partition = int32(n)
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, p)
	}
	bytes := prepared(req)
	c := ts.dial()
	in := bufio.NewReaderSize(c, 64<<10)
	const inFlight = 5
	slots := make(chan struct{}, inFlight)
	failed := make(chan error, 1)
	b.SetBytes(int64(partitions * len(batch)))
	b.ReportAllocs()
	began := cpu()
	b.ResetTimer()
	go func() {
		for range b.N {
			slots <- struct{}{}
			if _, err := c.Write(bytes); err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	for i := range b.N {
		if err := drop(in); err != nil {
			b.Fatal(err)
		}
		<-slots
		if i%200 == 199 {
			b.StopTimer()
			_ = ts.b.RunRetention()
			b.StartTimer()
		}
	}
	if err := <-failed; err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	reportCPU(b, began, int64(b.N)*int64(partitions*len(batch)))
	if end := ts.partition("t", 0).Offsets().End; end == 0 {
		b.Fatal("nothing was appended")
	}
}

func BenchmarkFetch(b *testing.B) {
	for _, c := range []struct {
		name                  string
		partitions, fetchMax  int
		batchBytes, partBytes int
	}{
		{"6x1MiB", 6, 1 << 20, 64 << 10, 64 << 20},
		{"6x1MiB/batches=4KiB", 6, 1 << 20, 4 << 10, 64 << 20},
		{"1x64KiB", 1, 64 << 10, 16 << 10, 64 << 20},
		{"1x1KiB", 1, 1 << 10, 1 << 10, 4 << 20},
	} {
		b.Run(c.name, func(b *testing.B) { benchFetch(b, c.partitions, c.fetchMax, c.batchBytes, c.partBytes) })
	}
}

func benchFetch(b *testing.B, partitions, fetchMax, batchBytes, partBytes int) {
	ts := newTestServer(b, onDisk(b))
	top := ts.topic("t", int32(partitions))
	batch := benchBatch(b, batchBytes, 100)
	var run []byte
	for len(run) < 1<<20 {
		run = append(run, batch...)
	}
	for n := range partitions {
		for wrote := 0; wrote < partBytes; wrote += len(run) {
			if _, err := ts.partition("t", n).Produce(run, broker.AcksLeader); err != nil {
				b.Fatal(err)
			}
		}
	}
	req := fetchRequest(12, top, make([]int64, partitions)...)
	req.MaxBytes = 50 << 20
	for i := range req.Topics[0].Partitions {
		req.Topics[0].Partitions[i].PartitionMaxBytes = int32(fetchMax)
	}
	first := prepared(req)
	places := offsetsIn(first, partitions, fetchMax)
	end := int64(ts.partition("t", 0).Offsets().End)
	step := int64(max(1, fetchMax/len(batch))) * int64(max(1, batchBytes/100))
	c := ts.dial()
	in := bufio.NewReaderSize(c, 64<<10)
	b.ReportAllocs()
	sent, copied := ts.srv.traffic.sent.Load(), ts.srv.traffic.copied.Load()
	began := cpu()
	b.ResetTimer()
	for i := range b.N {
		at := int64(i) * step % (end - step)
		for _, p := range places {
			binary.BigEndian.PutUint64(first[p:], uint64(at-at%step))
		}
		if _, err := c.Write(first); err != nil {
			b.Fatal(err)
		}
		if err := drop(in); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	total := ts.srv.traffic.sent.Load() - sent + ts.srv.traffic.copied.Load() - copied
	b.SetBytes(total / int64(b.N))
	reportCPU(b, began, total)
}

// offsetsIn finds where the fetch offsets stand in a version 12 request: before
// each run of last epoch, log start and maximum.
func offsetsIn(req []byte, partitions, fetchMax int) (places []int) {
	tail := binary.BigEndian.AppendUint32(nil, 0xffffffff)              // last epoch
	tail = binary.BigEndian.AppendUint64(tail, 0xffffffffffffffff)      // log start
	tail = binary.BigEndian.AppendUint32(tail, uint32(int32(fetchMax))) // maximum
	for at := 0; at+len(tail) <= len(req); at++ {
		if string(req[at:at+len(tail)]) == string(tail) {
			places = append(places, at-8)
		}
	}
	if len(places) != partitions {
		panic(fmt.Sprintf("%d offsets in the request, expected %d", len(places), partitions))
	}
	return places
}

func BenchmarkHeartbeatSizedRequest(b *testing.B) {
	ts := newTestServer(b)
	ts.topic("t", 1)
	req := prepared(listRequest(5, "t", 0, -1))
	c := ts.dial()
	in := bufio.NewReaderSize(c, 64<<10)
	b.ReportAllocs()
	for range b.N {
		if _, err := c.Write(req); err != nil {
			b.Fatal(err)
		}
		if err := drop(in); err != nil {
			b.Fatal(err)
		}
	}
}
