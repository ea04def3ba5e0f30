// Package file reads lines from a file: a Source that ends at the end of the
// file and can be resumed there when it has grown.
//
// It does not follow a file (no tail, no rotation yet) and does not know what
// is in a line: a Parser makes a record or a dead letter of each.
//
// # Position
//
// A file is known by its head, the first KiB (what there was of it at the first
// start, if that was less), and the place in it by an offset:
//
//	version     1 byte, 1
//	flags       1 byte, bit 0: the last line taken had no newline yet
//	head bytes  2 bytes big-endian, 0 to 1024
//	head hash   32 bytes, SHA-256 of that many bytes
//	offset      8 bytes big-endian: everything before it is taken
//	state       the rest: what the parser remembers from line to line
//
// A file that is shorter than the offset or has another head is another file,
// and an error. A grown one goes on at the offset.
//
// # The last line
//
// At the end of the file a line without newline is taken as it is. If the file
// grows later and goes on with a newline, nothing is lost or doubled. If it goes
// on with more text, that line was taken too early: the rest of it becomes a
// dead letter, so that nothing is lost or counted twice there either.
//
// A Source is called from one goroutine.
package file

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
)

// Parser makes a record, or a dead letter, of each line (without its newline,
// borrowed). State is what it remembers between lines; Restore takes it back.
type Parser interface {
	Line(line []byte, out *connectors.Batch)
	State() []byte
	Restore(state []byte) error
}

// Lines is a Parser for lines as they are: no key, no event time, any line is good.
type Lines struct{}

func (Lines) Line(line []byte, out *connectors.Batch) {
	out.Add(connectors.Out{Value: line, Timestamp: record.NoTimestamp, Partition: -1})
}
func (Lines) State() []byte        { return nil }
func (Lines) Restore([]byte) error { return nil }

// Config is what a Source reads. The zero value of a field is its default.
type Config struct {
	Path    string    // "-" is Stdin
	Stdin   io.Reader // of the path "-"; default os.Stdin
	Parser  Parser    // default Lines
	MaxLine int       // longest line in bytes; the beginning of a longer one is a dead letter. Default 1 MiB
}

// Errors of Open, wrapped with the path and what to do.
var (
	ErrShorter   = errors.New("the file is shorter than what was read of it before")
	ErrOtherHead = errors.New("the file begins differently from the one that was read before")
)

// ErrTooLong and ErrLateRest are reasons of dead letters.
var (
	ErrTooLong  = errors.New("the line is longer than the limit")
	ErrLateRest = errors.New("the rest of a line that was taken without its end, when the file ended there")
)

// readBytes is how much is read at once; memory is this, MaxLine and the batch.
const readBytes = 256 << 10

// Source reads the lines of one file.
//
// Invariant: buf[from:to] is read and not taken; offset is the file's offset of
// buf[from].
type Source struct {
	cfg    Config
	in     io.Reader
	file   *os.File // nil: standard input
	place  position
	replay bool // the position can be resumed

	buf      []byte
	from, to int
	eof      bool
	tooLong  int64 // bytes of a line over the limit that were passed over; 0: not in one
	lateRest bool  // the next bytes, up to a newline, belong to a line taken before
	lines    int64
}

var _ connectors.Source = (*Source)(nil)

// New makes a source.
func New(cfg Config) *Source {
	if cfg.Parser == nil {
		cfg.Parser = Lines{}
	}
	if cfg.MaxLine == 0 {
		cfg.MaxLine = 1 << 20
	}
	if cfg.Stdin == nil {
		cfg.Stdin = os.Stdin
	}
	return &Source{cfg: cfg}
}

// Open opens the file at position.
func (s *Source) Open(_ context.Context, _ connectors.SourceContext, pos []byte) error {
	s.buf = make([]byte, readBytes+s.cfg.MaxLine)
	if s.cfg.Path == "-" {
		if pos != nil {
			return errors.New("file source: standard input cannot go on where an earlier run stopped")
		}
		s.in = s.cfg.Stdin
		return nil
	}
	f, err := os.Open(s.cfg.Path)
	if err != nil {
		return fmt.Errorf("file source: %w", err)
	}
	if err := s.start(f, pos); err != nil {
		f.Close()
		return fmt.Errorf("file source: %s: %w", s.cfg.Path, err)
	}
	s.in, s.file = f, f
	return nil
}

// start checks that f is the file of pos and goes to its offset.
func (s *Source) start(f *os.File, pos []byte) error {
	info, err := f.Stat()
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return errors.New("is a directory, expected a file of lines")
	}
	s.replay = info.Mode().IsRegular()
	if !s.replay {
		if pos != nil {
			return errors.New("is a pipe or device: it cannot go on where an earlier run stopped")
		}
		return nil
	}
	if pos == nil {
		s.place.head, s.place.hash, err = headOf(f, maxHead)
		return err
	}
	if s.place, err = parsePosition(pos); err != nil {
		return err
	}
	const choices = "give the file of before, or another directory to begin anew"
	if info.Size() < s.place.offset {
		return fmt.Errorf("%w: %d bytes, %d were read; %s", ErrShorter, info.Size(), s.place.offset, choices)
	}
	if n, hash, err := headOf(f, s.place.head); err != nil {
		return err
	} else if n != s.place.head || hash != s.place.hash {
		return fmt.Errorf("%w: its first %d bytes are others; %s", ErrOtherHead, s.place.head, choices)
	}
	if err := s.cfg.Parser.Restore(s.place.state); err != nil {
		return err
	}
	s.lateRest = s.place.unterminated
	_, err = f.Seek(s.place.offset, io.SeekStart)
	return err
}

// headOf hashes the first n bytes, or what there is of them.
func headOf(f *os.File, n int) (int, [sha256.Size]byte, error) {
	head := make([]byte, n)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return 0, [sha256.Size]byte{}, err
	}
	return n, sha256.Sum256(head[:n]), nil
}

// Lines is the number of lines taken since Open, good and bad.
func (s *Source) Lines() int64 { return s.lines }

// Position is nil where the input cannot be read again: standard input, pipes.
func (s *Source) Position() []byte {
	if !s.replay {
		return nil
	}
	s.place.state = s.cfg.Parser.State()
	return s.place.append(nil)
}

// Close closes the file.
func (s *Source) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// Read takes the lines of the next 256 KiB or so. It returns io.EOF, without
// records, at the end of the file.
func (s *Source) Read(ctx context.Context, out *connectors.Batch) error {
	for out.Len() == 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.eof {
			return io.EOF
		}
		if err := s.fill(); err != nil {
			return fmt.Errorf("file source: %w", err)
		}
		s.cut(out)
	}
	return nil
}

// fill reads more behind what is not taken yet.
func (s *Source) fill() error {
	if s.from > 0 {
		s.to = copy(s.buf, s.buf[s.from:s.to])
		s.from = 0
	}
	n, err := s.in.Read(s.buf[s.to:min(len(s.buf), s.to+readBytes)])
	s.to += n
	if err == io.EOF {
		s.eof = true
		return nil
	}
	return err
}

// cut takes every line that is there.
func (s *Source) cut(out *connectors.Batch) {
	for {
		rest := s.buf[s.from:s.to]
		n := bytes.IndexByte(rest, '\n')
		if n < 0 {
			break
		}
		s.take(rest[:n], n+1, false, out)
	}
	rest := s.buf[s.from:s.to]
	switch {
	case s.eof && (len(rest) > 0 || s.tooLong > 0):
		s.take(rest, len(rest), true, out)
	case len(rest) > s.cfg.MaxLine && s.tooLong > 0:
		s.tooLong += int64(len(rest))
		s.skip(len(rest))
	case len(rest) > s.cfg.MaxLine:
		s.tooLong = int64(len(rest))
		s.add(rest[:s.cfg.MaxLine], fmt.Errorf("%w of %d bytes: these are its first", ErrTooLong, s.cfg.MaxLine), out)
		s.skip(len(rest))
	}
}

// take ends a line: n bytes of the file, newline included.
func (s *Source) take(line []byte, n int, unterminated bool, out *connectors.Batch) {
	switch {
	case s.tooLong > 0: // its beginning is a dead letter already
		s.tooLong = 0
	case s.lateRest && len(bytes.TrimRight(line, "\r")) == 0: // only the newline was missing
	case s.lateRest:
		s.add(line[:min(len(line), s.cfg.MaxLine)], ErrLateRest, out)
	case len(line) > s.cfg.MaxLine:
		s.add(line[:s.cfg.MaxLine], fmt.Errorf("%w of %d bytes: these are its first", ErrTooLong, s.cfg.MaxLine), out)
	default:
		s.lines++
		s.cfg.Parser.Line(line, out)
	}
	s.lateRest = false
	s.place.unterminated = unterminated
	s.skip(n)
}

func (s *Source) skip(n int) {
	s.from += n
	s.place.offset += int64(n)
}

func (s *Source) add(line []byte, reason error, out *connectors.Batch) {
	s.lines++
	out.Add(connectors.Out{Value: line, Timestamp: record.NoTimestamp, Partition: -1, DeadLetter: reason.Error()})
}
