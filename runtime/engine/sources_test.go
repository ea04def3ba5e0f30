package engine_test

import (
	"context"
	"encoding/binary"
	"io"

	"github.com/millstream-io/millstream/connectors"
)

// outSource is a source of given records; its position is the number read.
type outSource struct {
	outs []connectors.Out
	next int
	stay bool // wait at the end

	open  func(n int) error // of the nth Open, from 0 on
	read  func(n int) error // before the nth record
	opens int
}

func (s *outSource) Open(_ context.Context, _ connectors.SourceContext, position []byte) error {
	s.next = 0
	if len(position) == 8 {
		s.next = min(int(binary.BigEndian.Uint64(position)), len(s.outs))
	}
	s.opens++
	if s.open != nil {
		return s.open(s.opens - 1)
	}
	return nil
}

func (s *outSource) Read(ctx context.Context, out *connectors.Batch) error {
	if s.next == len(s.outs) {
		if !s.stay {
			return io.EOF
		}
		<-ctx.Done()
		return ctx.Err()
	}
	if s.read != nil {
		if err := s.read(s.next); err != nil {
			return err
		}
	}
	out.Add(s.outs[s.next])
	s.next++
	return nil
}

func (s *outSource) Position() []byte { return binary.BigEndian.AppendUint64(nil, uint64(s.next)) }
func (s *outSource) Close() error     { return nil }
