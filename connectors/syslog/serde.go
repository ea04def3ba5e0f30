package syslog

import (
	"bytes"

	"github.com/millstream-io/millstream/streams/serde"
)

// Serde is the raw line, so that streams finds it by the type. Decoded
// messages are borrowed; the zero Message is null.
func (Message) Serde() serde.Serde[Message] { return messageSerde{} }

type messageSerde struct{}

func (messageSerde) Append(dst []byte, m Message) ([]byte, error) {
	if m.raw == nil {
		return dst, serde.ErrNull
	}
	return append(dst, m.raw...), nil
}
func (messageSerde) Decode(b []byte) (Message, error) { return Message{b}, nil }
func (messageSerde) Aliases() bool                    { return false }
func (messageSerde) Lifetime() serde.Lifetime         { return serde.Borrowed }
func (messageSerde) Own(m Message) Message            { return Message{bytes.Clone(m.raw)} }
func (messageSerde) Name() string                     { return "syslog" }
