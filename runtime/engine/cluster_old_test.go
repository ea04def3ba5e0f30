package engine_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-io/millstream/log/wire"
	"github.com/millstream-io/millstream/runtime/engine"
)

// older stands before a server and makes it an older one: a request is said to be
// known up to a version, or not at all (-1).
type older struct {
	t      *testing.T
	server string
	most   map[kmsg.Key]int16
}

// listen serves until the test ends.
func (o *older) listen(l net.Listener) {
	var conns sync.WaitGroup
	o.t.Cleanup(func() { l.Close(); conns.Wait() })
	conns.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", o.server)
			if err != nil {
				client.Close()
				return
			}
			versions := make(chan [2]int32, 100) // correlation ids of ApiVersions, and their versions
			conns.Go(func() {
				defer server.Close()
				frames(client, server, func(b []byte) []byte {
					if kmsg.Key(binary.BigEndian.Uint16(b)) == kmsg.ApiVersions {
						versions <- [2]int32{int32(binary.BigEndian.Uint32(b[4:])), int32(binary.BigEndian.Uint16(b[2:]))}
					}
					return b
				})
			})
			conns.Go(func() {
				defer client.Close()
				var asked [][2]int32
				frames(server, client, func(b []byte) []byte {
					for len(versions) > 0 {
						asked = append(asked, <-versions)
					}
					for _, a := range asked {
						if uint32(a[0]) == binary.BigEndian.Uint32(b) {
							return append(b[:4:4], o.age(b[4:], int16(a[1]))...)
						}
					}
					return b
				})
			})
		}
	})
}

// age changes an answer to ApiVersions; its header has no tags in any version.
func (o *older) age(body []byte, version int16) []byte {
	const unsupportedVersion = 35 // of ApiVersions itself: the answer is in version 0
	if binary.BigEndian.Uint16(body) == unsupportedVersion {
		version = 0
	}
	resp := kmsg.ApiVersionsResponse{Version: version}
	if err := resp.ReadFrom(body); err != nil {
		o.t.Error(err)
		return body
	}
	keys := resp.ApiKeys[:0]
	for _, k := range resp.ApiKeys {
		most, is := o.most[kmsg.Key(k.ApiKey)]
		if is && most < 0 {
			continue
		}
		if is {
			k.MaxVersion = min(k.MaxVersion, most)
		}
		keys = append(keys, k)
	}
	resp.ApiKeys = keys
	return resp.AppendTo(nil)
}

// frames copies frames until either side ends.
func frames(from, to net.Conn, change func([]byte) []byte) {
	var size [4]byte
	for {
		if _, err := io.ReadFull(from, size[:]); err != nil {
			return
		}
		b := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(from, b); err != nil {
			return
		}
		b = change(b)
		if _, err := to.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)); err != nil {
			return
		}
	}
}

func TestABrokerThatIsTooOldIsToldBeforeAnythingIsProcessed(t *testing.T) {
	for _, c := range []struct {
		key  kmsg.Key
		most int16
		want []string // nil: it works
	}{
		{kmsg.Metadata, 9, []string{"Metadata up to version 9, expected version 10", "topic ids"}},
		{kmsg.TxnOffsetCommit, 2, []string{"TxnOffsetCommit up to version 2, expected version 3", "bound to a consumer group"}},
		{kmsg.OffsetFetch, 6, []string{"OffsetFetch up to version 6", "stable offsets"}},
		{kmsg.InitProducerID, 2, []string{"InitProducerID up to version 2", "producers that recover"}},
		{kmsg.InitProducerID, -1, []string{"does not answer InitProducerID"}},
		{kmsg.OffsetForLeaderEpoch, 1, []string{"OffsetForLeaderEpoch up to version 1", "leader epochs"}},
		{kmsg.Produce, 11, nil}, // before KIP-890
		{kmsg.Fetch, 12, nil},   // before topic ids in Fetch
	} {
		t.Run(fmt.Sprint(c.key.Name(), " to ", c.most), func(t *testing.T) {
			front, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			addr := front.Addr().String()
			o := &older{t: t, server: listening(t, wire.Listener{Advertised: addr}), most: map[kmsg.Key]int16{c.key: c.most}}
			o.listen(front)
			err = runOn(t, addr, func(cfg *engine.Config) { cfg.Cluster.SASL = engine.SASL{} })
			if c.want == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			for _, w := range append(c.want, addr, "too old", "use a cluster of Apache Kafka 2.8 or newer") {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("%v, expected it to say %q", err, w)
				}
			}
		})
	}
}

// Where the brokers send clients on to an address that these cannot reach, that is
// told, and not the silence there.
func TestAnAdvertisedAddressThatIsOutOfReachIsTold(t *testing.T) {
	addr := listening(t, wire.Listener{Advertised: "127.0.0.1:1"})
	err := runOn(t, addr, func(cfg *engine.Config) { cfg.Cluster.SASL = engine.SASL{} })
	for _, w := range []string{addr, "127.0.0.1:1", "advertised.listeners"} {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("%v, expected it to say %q", err, w)
		}
	}
}
