package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
)

// fill reads more behind what is not taken yet.
func (s *Source) fill() error {
	if s.from > 0 {
		s.to = copy(s.buf, s.buf[s.from:s.to])
		s.from = 0
	}
	n, err := s.cur.in.Read(s.buf[s.to:min(len(s.buf), s.to+readBytes)])
	s.to += n
	s.sizes.read(s.cur)
	if err == io.EOF {
		s.eof = true
		return nil
	}
	return err
}

// cut takes every line that is there.
func (s *Source) cut(out *connectors.Batch) {
	if !s.skipBOM() {
		return
	}
	final := s.eof && s.endsHere()
	if s.splitter != nil {
		s.split(final, out)
	} else {
		s.cutLines(out)
	}
	rest := s.buf[s.from:s.to]
	switch {
	case final && (len(rest) > 0 || s.cur.place.tooLong):
		s.take(rest, len(rest), true, out)
	case s.overlong(rest) && s.cur.place.tooLong:
		s.skip(len(rest))
	case s.overlong(rest):
		s.cur.place.tooLong = true
		s.add(rest[:s.cfg.MaxLine], s.errTooLong(), out)
		s.skip(len(rest))
	}
}

// overlong reports whether what is there of a line is too much to wait for more.
// A Splitter's records are waited for until the buffer is full, so that what
// becomes of one depends on its length alone, not on how the file was read.
func (s *Source) overlong(rest []byte) bool {
	if s.splitter != nil {
		return len(rest) == len(s.buf)
	}
	return len(rest) > s.cfg.MaxLine
}

// endsHere reports whether what stands at the end without newline is to be taken.
func (s *Source) endsHere() bool {
	return !s.cfg.Tail || s.stream || s.cur.takeRest || s.cur.in.packed
}

// skipBOM passes over a byte order mark; false: more has to be read to tell.
func (s *Source) skipBOM() bool {
	if s.cur.place.offset > 0 {
		return true
	}
	rest := s.buf[s.from:s.to]
	switch {
	case bytes.HasPrefix(rest, utf8BOM):
		s.skip(len(utf8BOM))
	case len(rest) < len(utf8BOM) && bytes.HasPrefix(utf8BOM, rest) && !s.eof:
		return false
	}
	return true
}

func (s *Source) cutLines(out *connectors.Batch) {
	for {
		rest := s.buf[s.from:s.to]
		n := bytes.IndexByte(rest, '\n')
		if n < 0 {
			return
		}
		s.take(rest[:n], n+1, false, out)
	}
}

// split takes the records that the parser's Splitter finds.
func (s *Source) split(final bool, out *connectors.Batch) {
	for s.to > s.from {
		rest := s.buf[s.from:s.to]
		if s.cur.place.tooLong || s.cur.place.unterminated { // up to the newline, whatever it is
			n := bytes.IndexByte(rest, '\n')
			if n < 0 {
				return
			}
			s.take(rest[:n], n+1, false, out)
			continue
		}
		n, take, bad := s.splitter.Split(rest, final || s.overlong(rest) && bytes.IndexByte(rest, '\n') >= 0)
		if !final && errors.Is(bad, errUnclosed) {
			bad = fmt.Errorf("%w within %d bytes: if the row is as long, raise MaxLine", bad, len(rest))
		}
		switch {
		case take == 0 || take == len(rest) && rest[take-1] != '\n' && !final:
			return
		case bad != nil:
			s.add(trimCR(rest[:n]), bad, out)
			s.cur.place.unterminated = rest[take-1] != '\n'
			s.skip(take)
		default:
			s.take(rest[:n], take, rest[take-1] != '\n', out)
		}
	}
}

// take ends a line: n bytes of the file, newline included.
func (s *Source) take(line []byte, n int, unterminated bool, out *connectors.Batch) {
	p := &s.cur.place
	line = trimCR(line)
	switch {
	case p.tooLong: // its beginning is a dead letter already
	case p.unterminated && len(line) == 0: // only the newline was missing
	case p.unterminated:
		s.add(line[:min(len(line), s.cfg.MaxLine)], ErrLateRest, out)
	case len(line) > s.cfg.MaxLine:
		s.add(line[:s.cfg.MaxLine], s.errTooLong(), out)
	default:
		s.lines.Add(1)
		before := out.Len()
		s.cfg.Parser.Line(line, out)
		locate(out, before, p.path, p.lines+1)
	}
	p.tooLong, p.unterminated = p.tooLong && unterminated, unterminated && !p.tooLong
	s.skip(n)
}

func trimCR(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		return line[:n-1]
	}
	return line
}

// skip passes over n bytes of the buffer.
func (s *Source) skip(n int) {
	p := &s.cur.place
	p.lines += int64(bytes.Count(s.buf[s.from:s.from+n], newline))
	s.from += n
	p.offset += int64(n)
}

var newline = []byte{'\n'}

func (s *Source) errTooLong() error {
	return fmt.Errorf("%w of %d bytes: these are its first", ErrTooLong, s.cfg.MaxLine)
}

func (s *Source) add(line []byte, reason error, out *connectors.Batch) {
	s.deadLetter(s.cur, line, reason, out)
}

// locate tells the dead letters from index from on where they stood.
func locate(out *connectors.Batch, from int, path string, line int64) {
	records := out.Records()[from:]
	for i := range records {
		r := &records[i]
		if r.DeadLetter == "" {
			continue
		}
		r.Headers = append(r.Headers[:len(r.Headers):len(r.Headers)],
			record.Header{Key: HeaderFile, Value: []byte(path)},
			record.Header{Key: HeaderLine, Value: strconv.AppendInt(nil, line, 10)})
	}
}
