package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// FuzzShape: what checkShape lets pass, kmsg decodes; and what kmsg decodes
// without claiming more than is there, checkShape lets pass.
func FuzzShape(f *testing.F) {
	for _, key := range []int16{keyProduce, keyFetch} {
		for i := range apis {
			if apis[i].key != key {
				continue
			}
			for v := apis[i].min; v <= apis[i].max; v++ {
				req := kmsg.RequestForKey(key)
				req.SetVersion(v)
				switch r := req.(type) {
				case *kmsg.ProduceRequest:
					r.Topics = []kmsg.ProduceRequestTopic{{Topic: "t", Partitions: []kmsg.ProduceRequestTopicPartition{{Records: []byte("abc")}}}}
				case *kmsg.FetchRequest:
					r.Topics = []kmsg.FetchRequestTopic{{Topic: "t", Partitions: []kmsg.FetchRequestTopicPartition{{FetchOffset: 3}}}}
					r.ForgottenTopics = []kmsg.FetchRequestForgottenTopic{{Topic: "f", Partitions: []int32{1, 2}}}
					r.Rack = "r"
				}
				f.Add(key, v, req.AppendTo(nil))
			}
		}
	}
	for _, b := range clientVectors(f) {
		h, err := parseHeader(b[4:])
		if err != nil || h.key != keyProduce && h.key != keyFetch {
			continue
		}
		req := kmsg.RequestForKey(h.key)
		if req.SetVersion(h.version); req.IsFlexible() {
			h.rest, _ = skipTags(h.rest)
		}
		f.Add(h.key, h.version, h.rest)
	}
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		if key != keyProduce && key != keyFetch || len(body) > 1<<12 {
			return
		}
		var a *api
		for i := range apis {
			if apis[i].key == key {
				a = &apis[i]
			}
		}
		if version < a.min || version > a.max {
			return
		}
		req := kmsg.RequestForKey(key)
		req.SetVersion(version)
		walked := walk(key, version, body)
		_, shape := checkShape(key, version, body)
		decoded := req.ReadFrom(body)
		if shape == nil && decoded != nil && !walked.tagged {
			t.Errorf("key %d version %d: the shape is good, but kmsg says %v", key, version, decoded)
		}
		if shape != nil && decoded == nil && bytes.Equal(req.AppendTo(nil), body) {
			t.Errorf("key %d version %d: kmsg reads and writes the same bytes, but the shape is bad: %v", key, version, shape)
		}
	})
}

// pipe is a connection from which the fuzzer's bytes come.
type pipe struct {
	nowhere
	r io.Reader
}

func (p *pipe) Read(b []byte) (int, error) { return p.r.Read(b) }

// FuzzFrames reads frames from any bytes, in any pieces, up to the handler.
func FuzzFrames(f *testing.F) {
	for _, req := range []kmsg.Request{kmsg.NewPtrApiVersionsRequest(), kmsg.NewPtrMetadataRequest(), kmsg.NewPtrFetchRequest()} {
		req.SetVersion(req.MaxVersion())
		f.Add(kmsg.NewRequestFormatter(kmsg.FormatterClientID("c")).AppendRequest(nil, req, 5), uint8(3))
	}
	for _, b := range clientVectors(f) {
		f.Add(b, uint8(31))
	}
	f.Add([]byte{0, 0, 0, 10, 0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff}, uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		var nc net.Conn = &pipe{r: &pieces{b: b, step: int(step%32) + 1}}
		in := frameReader{nc: nc, min: minHeader, max: 1 << 16}
		m := newMemory(1 << 20)
		total := 0
		for {
			size, err := in.size()
			if err != nil {
				break
			}
			key, err := in.key()
			if err != nil {
				break
			}
			fr, err := in.body(context.Background(), m, size, key == keyProduce, time.Second)
			if err != nil {
				break
			}
			if want := b[total+4 : total+4+size]; !bytes.Equal(fr.b, want) || int16(binary.BigEndian.Uint16(want)) != key {
				t.Fatalf("frame at %d: %x, expected %x", total, fr.b, want)
			}
			total += 4 + size
			if h, err := parseHeader(fr.b); err == nil && kmsg.RequestForKey(h.key) != nil {
				_, _ = decode(&h, nil)
			}
			fr.release()
		}
		if !m.small.TryAcquire(m.total/2) || !m.large.TryAcquire(m.total/2) {
			t.Fatal("a reservation was not given back")
		}
	})
}

// pieces gives at most step bytes at once.
type pieces struct {
	b    []byte
	step int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.step)], p.b)
	p.b = p.b[n:]
	return n, nil
}
