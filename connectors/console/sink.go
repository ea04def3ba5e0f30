// Package console prints the records of a topic: alerts for people, JSON for
// programs, whatever its Format makes of them.
//
// A Write is acknowledged when everything it printed was handed to the writer.
// Delivery is at least once: after a crash between a Write and the commit of
// its offsets the same lines are printed again.
//
// # Bad input
//
//	a record that Format refuses   dead letter; nothing of it is printed, the others are
//	a writer that fails            an error: what was not printed comes again
//
// A Sink is called from one goroutine.
package console

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/millstream-io/millstream/connectors"
)

// Format appends what is printed of a record to dst, line end included. An error
// makes the record a dead letter. It must not keep r.
type Format func(dst []byte, r *connectors.Record) ([]byte, error)

// Config is where and how a Sink prints. The zero value of a field is its default.
type Config struct {
	Writer io.Writer // default os.Stdout
	Format Format    // default: the value and a newline
	// Written, if set, is called after each Write that succeeded.
	Written func(records []connectors.Record)
}

// Sink prints records.
type Sink struct {
	cfg Config
	buf []byte
}

var _ connectors.Sink = (*Sink)(nil)

// New makes a sink.
func New(cfg Config) *Sink {
	if cfg.Writer == nil {
		cfg.Writer = os.Stdout
	}
	if cfg.Format == nil {
		cfg.Format = Values
	}
	return &Sink{cfg: cfg}
}

// Values prints a record's value on a line of its own.
func Values(dst []byte, r *connectors.Record) ([]byte, error) {
	return append(append(dst, r.Value...), '\n'), nil
}

// Open does nothing.
func (s *Sink) Open(context.Context, connectors.SourceContext) error { return nil }

// flushBytes bounds the buffer within one Write.
const flushBytes = 64 << 10

// Write prints the records and flushes.
func (s *Sink) Write(ctx context.Context, records []connectors.Record) error {
	s.buf = s.buf[:0]
	for i := range records {
		var err error
		n := len(s.buf)
		if s.buf, err = s.cfg.Format(s.buf, &records[i]); err != nil {
			s.buf = s.buf[:n]
			if err := s.flush(); err != nil { // those before it count as written
				return err
			}
			s.done(records[:i])
			return &connectors.RecordError{Index: i, Err: err}
		}
		if len(s.buf) >= flushBytes {
			if err := s.flush(); err != nil {
				return err
			}
		}
	}
	if err := s.flush(); err != nil {
		return err
	}
	s.done(records)
	return nil
}

func (s *Sink) done(records []connectors.Record) {
	if s.cfg.Written != nil && len(records) > 0 {
		s.cfg.Written(records)
	}
}

func (s *Sink) flush() error {
	if len(s.buf) == 0 {
		return nil
	}
	_, err := s.cfg.Writer.Write(s.buf)
	s.buf = s.buf[:0]
	if err != nil {
		return fmt.Errorf("console sink: %w", err)
	}
	return nil
}

// Close does nothing: every Write has flushed.
func (s *Sink) Close() error { return nil }
