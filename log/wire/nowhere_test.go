package wire

import (
	"math/rand/v2"
	"net"
	"time"

	"github.com/millstream-io/millstream/log/record"
)

// nowhere is a connection that takes everything and gives nothing.
type nowhere struct{}

func (nowhere) Read([]byte) (int, error)         { return 0, net.ErrClosed }
func (nowhere) Write(b []byte) (int, error)      { return len(b), nil }
func (nowhere) Close() error                     { return nil }
func (nowhere) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (nowhere) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (nowhere) SetDeadline(time.Time) error      { return nil }
func (nowhere) SetReadDeadline(time.Time) error  { return nil }
func (nowhere) SetWriteDeadline(time.Time) error { return nil }

// record0 is a small batch, sometimes of a producer.
func record0(rng *rand.Rand) []byte {
	b := record.NewBuilder()
	if rng.IntN(2) == 0 {
		b.SetProducer(record.ProducerID(rng.IntN(3)), record.ProducerEpoch(rng.IntN(3)), int32(rng.IntN(3)))
		b.SetTransactional(rng.IntN(2) == 0)
	}
	b.Append(&record.View{Key: []byte("k"), Value: []byte("v"), Timestamp: time.Now().UnixMilli()})
	raw, err := b.Finish(record.None)
	if err != nil {
		panic(err)
	}
	return raw
}
