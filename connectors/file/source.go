package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
)

// tracked is a file that the source reads, has read or will read.
type tracked struct {
	place position
	info  os.FileInfo // when it was last looked at; nil: not since Open
	in    *content    // nil: not open

	sizeAtEnd int64 // of the file when its end was reached; -1: not yet
	stale     int   // looks since then without growth, with a partial line left
	takeRest  bool  // the partial line is to be taken
	partial   bool  // there is one
	quiet     int   // looks at the end of the file
	detached  bool  // no longer under its path, which was: its rest is read, then it is forgotten
	was       string
	gone      bool // nothing is left to read
}

// Source reads the lines of one file, or of several.
//
// Invariant: buf[from:to] is read of cur and not taken; cur.place.offset is the
// content's offset of buf[from]. Without cur the buffer is empty.
type Source struct {
	cfg      Config
	splitter Splitter
	checker  Checker
	wait     func(context.Context, time.Duration) error
	log      logger

	stream  bool // standard input or a pipe: there is no position
	files   []*tracked
	cur     *tracked
	parsing *tracked // whose state the parser has
	reads   int      // since the last look at the directory

	buf      []byte
	from, to int
	eof      bool

	lines atomic.Int64
	sizes sizes
	saved []byte
}

var (
	_ connectors.Source   = (*Source)(nil)
	_ connectors.Measurer = (*Source)(nil)
)

// Open opens the files at position.
func (s *Source) Open(_ context.Context, cfg connectors.SourceContext, pos []byte) error {
	s.Close()
	s.log = logger{cfg.Logger}
	s.files, s.parsing, s.stream = nil, nil, false
	if s.buf == nil {
		s.buf = make([]byte, readBytes+s.cfg.MaxLine)
	}
	if err := s.open(pos); err != nil {
		return fmt.Errorf("file source: %w", err)
	}
	return nil
}

func (s *Source) open(pos []byte) error {
	switch {
	case (s.cfg.Path == "") == (s.cfg.Glob == ""):
		return connectors.Permanent(errors.New("either Path or Glob has to be given"))
	case s.cfg.Path == "-":
		if pos != nil {
			return connectors.Permanent(errors.New("standard input cannot go on where an earlier run stopped"))
		}
		return s.openStream(&content{in: &sniffed{r: s.cfg.Stdin}})
	}
	if pos != nil {
		places, err := parsePositions(pos)
		if err != nil {
			return connectors.Permanent(fmt.Errorf("%s: %w", s.name(), err))
		}
		for _, p := range places {
			if p.path == "" { // of version 1
				p.path = s.cfg.Path
			}
			s.files = append(s.files, &tracked{place: p, sizeAtEnd: -1})
		}
	}
	if s.cfg.Path == "" || s.cfg.Tail {
		return s.reconcile(true)
	}
	return s.openOne(pos != nil)
}

// openStream reads what can only be read once.
func (s *Source) openStream(c *content) error {
	s.stream = true
	t := &tracked{in: c, sizeAtEnd: -1}
	t.place.path = s.cfg.Path
	s.files = append(s.files, t)
	s.enter(t)
	return nil
}

// openOne opens the one file that is read to its end: it must be the one of the position.
func (s *Source) openOne(resumed bool) error {
	c, err := openContent(s.cfg.Path)
	if err != nil {
		return err
	}
	if !c.regular {
		if resumed {
			c.close()
			return connectors.Permanent(fmt.Errorf("%s: is a pipe or device: it cannot go on where an earlier run stopped", s.cfg.Path))
		}
		c.in = &sniffed{r: counted{c.f, &c.raw}}
		return s.openStream(c)
	}
	if len(s.files) == 0 {
		s.files = append(s.files, newTracked(s.cfg.Path))
	}
	t := s.files[0]
	t.in, t.place.path = c, s.cfg.Path
	if t.info, err = c.f.Stat(); err == nil {
		err = t.check(c, t.info)
	}
	if err != nil {
		return connectors.Permanent(fmt.Errorf("%s: %w", s.cfg.Path, err))
	}
	s.sizes.update(s.files)
	return nil
}

func newTracked(path string) *tracked {
	return &tracked{place: position{path: path}, sizeAtEnd: -1}
}

// name is what errors call the source's files.
func (s *Source) name() string {
	if s.cfg.Path != "" {
		return s.cfg.Path
	}
	return s.cfg.Glob
}

// Lines is the number of lines taken since the Source was made, good and bad.
func (s *Source) Lines() int64 { return s.lines.Load() }

// Position is nil where the input cannot be read again: standard input, pipes.
func (s *Source) Position() []byte {
	if s.stream {
		return nil
	}
	s.saveState()
	for _, t := range s.files {
		t.extendHead()
	}
	s.saved = appendPositions(s.saved[:0], s.files)
	return s.saved
}

// saveState keeps the parser's state with the file that it belongs to.
func (s *Source) saveState() {
	if s.parsing != nil {
		s.parsing.place.state = append(s.parsing.place.state[:0], s.cfg.Parser.State()...)
	}
}

// Close closes the files.
func (s *Source) Close() error {
	var errs []error
	for _, t := range s.files {
		errs = append(errs, t.in.close())
		t.in = nil
	}
	s.cur, s.from, s.to = nil, 0, 0
	return errors.Join(errs...)
}

// Read takes the lines of the next 256 KiB or so. At the end of the files it
// returns io.EOF, without records, or waits if the source follows them.
func (s *Source) Read(ctx context.Context, out *connectors.Batch) error {
	for out.Len() == 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		more, err := s.step(out)
		if err != nil {
			return fmt.Errorf("file source: %w", err)
		}
		if more {
			continue
		}
		if !s.cfg.Tail || s.stream {
			return io.EOF
		}
		if err := s.wait(ctx, s.cfg.Poll); err != nil {
			return err
		}
		s.countLooks()
		if err := s.reconcile(false); err != nil {
			return fmt.Errorf("file source: %w", err)
		}
	}
	return nil
}

// step reads and takes once; false if there is nothing to read now.
func (s *Source) step(out *connectors.Batch) (more bool, err error) {
	if s.cfg.Tail && !s.stream {
		if s.reads++; s.reads > reconcileEvery {
			s.putAside()
			if err := s.reconcile(false); err != nil {
				return false, err
			}
		}
	}
	if s.cur == nil {
		t := s.next()
		if t == nil {
			return false, nil
		}
		if err := s.openAt(t); err != nil {
			return true, s.failed(t, err, out)
		}
		s.enter(t)
	}
	t := s.cur
	if err := s.fill(); err != nil {
		s.cut(out) // what was read before the damage
		return true, s.failed(t, err, out)
	}
	s.cut(out)
	if err := s.refused(); err != nil {
		return true, s.failed(t, err, out)
	}
	if s.eof {
		s.leave()
	}
	return true, nil
}

func (s *Source) refused() error {
	if s.checker == nil {
		return nil
	}
	return s.checker.Check()
}

// enter makes t the file that is read.
func (s *Source) enter(t *tracked) {
	s.cur, s.from, s.to, s.eof = t, 0, 0, false
	if s.parsing == t {
		return
	}
	s.saveState()
	s.parsing = t
	if t.place.offset == 0 && len(t.place.state) == 0 {
		if b, ok := s.cfg.Parser.(Beginner); ok {
			b.Begin()
		}
	}
}

// openAt opens t where it was left, and gives its state to the parser.
func (s *Source) openAt(t *tracked) error {
	if t.in == nil {
		c, err := openContent(t.place.path)
		if err != nil {
			return err
		}
		t.in = c
	}
	if t.place.offset == 0 && t.place.head == 0 && t.info != nil {
		if err := t.check(t.in, t.info); err != nil {
			return err
		}
	}
	if err := t.in.start(t.place.offset); err != nil {
		return err
	}
	if s.parsing != t && (t.place.offset > 0 || len(t.place.state) > 0) {
		s.saveState()
		s.parsing = nil
		if err := s.cfg.Parser.Restore(t.place.state); err != nil {
			return connectors.Permanent(err)
		}
		s.parsing = t
	}
	return nil
}

// leave ends the reading of the current file for now.
func (s *Source) leave() {
	t := s.cur
	t.partial = s.to > s.from
	t.takeRest, t.stale, t.quiet = false, 0, 0
	s.cur, s.from, s.to = nil, 0, 0
	s.sizes.leave()
	if s.stream {
		t.sizeAtEnd = 0
		return
	}
	t.extendHead()
	t.place.complete = t.in.packed
	t.sizeAtEnd = t.size()
	if !s.cfg.Tail || t.in.packed {
		t.in.close()
		t.in = nil
	}
	s.closeSome(t)
	s.sizes.update(s.files)
}

// putAside stops reading the current file, which is read on from its offset.
func (s *Source) putAside() {
	if s.cur != nil {
		s.saveState()
		s.cur.sizeAtEnd = -1
		s.cur, s.from, s.to = nil, 0, 0
		s.sizes.leave()
	}
}

// failed decides what an error of one file means: for one file to be read to its
// end it is the source's; one that is being compressed is read on later; of
// several files the others are not to suffer.
func (s *Source) failed(t *tracked, err error, out *connectors.Batch) error {
	wrapped := fmt.Errorf("%s: %w", t.place.path, err)
	growing := errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
	switch {
	case s.cfg.Tail && (growing || errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission)):
		s.giveUp(t)
		return nil
	case errors.Is(err, ErrDamaged), errors.Is(err, ErrHeader), errors.Is(err, ErrShorter):
		if s.cfg.Glob == "" {
			return connectors.Permanent(wrapped)
		}
		s.deadLetter(t, nil, fmt.Errorf("%w; the rest of the file is passed over", err), out)
		s.giveUp(t)
		t.place.gaveUp = true
		return nil
	}
	return wrapped
}

// giveUp leaves a file until it changes.
func (s *Source) giveUp(t *tracked) {
	if s.parsing == t {
		s.saveState()
	}
	s.cur, s.from, s.to = nil, 0, 0
	s.sizes.leave()
	t.in.close()
	t.in, t.partial, t.takeRest = nil, false, false
	t.sizeAtEnd = t.size()
	if t.sizeAtEnd < 0 {
		t.sizeAtEnd = 0
	}
}

func (s *Source) deadLetter(t *tracked, line []byte, reason error, out *connectors.Batch) {
	s.lines.Add(1)
	n := out.Len()
	out.Add(connectors.Out{Value: line, Timestamp: record.NoTimestamp, Partition: -1, DeadLetter: reason.Error()})
	locate(out, n, t.place.path, t.place.lines+1)
}
