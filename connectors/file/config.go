package file

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
)

// Parser makes a record, or a dead letter, of each line (without its line end,
// borrowed). State is what it remembers between lines; Restore takes it back.
// One goroutine at a time; several files share one parser, whose state is kept
// for each.
type Parser interface {
	Line(line []byte, out *connectors.Batch)
	State() []byte
	Restore(state []byte) error
}

// Beginner is a Parser that begins anew with every file, instead of going on
// with what it remembers from the file before.
type Beginner interface{ Begin() }

// Checker is a Parser that may refuse a whole file: the error of Check, asked
// after each Line, is the source's (with a Glob: a dead letter, and the rest of
// the file is passed over).
type Checker interface{ Check() error }

// Splitter is a Parser whose records do not end at every newline. Split looks at
// data, which begins where a record does, and returns how long the record is
// (without its line end) and how many bytes it takes with it; 0, 0 asks for more
// data. With end set there will be no more: it must take something. A bad that
// is not nil makes the record a dead letter.
type Splitter interface {
	Split(data []byte, end bool) (length, take int, bad error)
}

// Headers of dead letters beside those that the engine sets.
const (
	HeaderFile = "millstream.file" // path
	HeaderLine = "millstream.line" // decimal, the first is 1
)

// Lines is a Parser for lines as they are: no key, no event time, any line is good.
type Lines struct{}

// Line adds the line.
func (Lines) Line(line []byte, out *connectors.Batch) {
	out.Add(connectors.Out{Value: line, Timestamp: record.NoTimestamp, Partition: -1})
}

// State is empty.
func (Lines) State() []byte { return nil }

// Restore does nothing.
func (Lines) Restore([]byte) error { return nil }

// Config is what a Source reads. The zero value of a field is its default.
type Config struct {
	// Path is one file; "-" is Stdin. Either Path or Glob.
	Path string
	// Glob is a pattern as filepath.Glob has it: its files are read one after the
	// other, in the order of their paths' bytes.
	Glob string
	// Tail follows the files (and finds new ones of a Glob) instead of ending
	// where they end. A Path that does not exist yet is waited for.
	Tail bool
	// Poll is how often a source that follows looks again. Default 250 ms.
	Poll time.Duration
	// PartialAfter is how long a followed file's last line may stand without
	// newline until it is taken as it is. Default 5 s.
	PartialAfter time.Duration

	Stdin   io.Reader // of the path "-"; default os.Stdin
	Parser  Parser    // default Lines
	MaxLine int       // longest line in bytes; the beginning of a longer one is a dead letter. Default 1 MiB
}

const (
	// readBytes is how much is read at once.
	readBytes = 256 << 10
	// maxOpen bounds the files that a following source keeps open.
	maxOpen = 64
	// reconcileEvery bounds the reads between two looks at the directory.
	reconcileEvery = 64
)

// New makes a source. What is wrong with cfg is told by Open.
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
	if cfg.Poll == 0 {
		cfg.Poll = 250 * time.Millisecond
	}
	if cfg.PartialAfter == 0 {
		cfg.PartialAfter = 5 * time.Second
	}
	s := &Source{cfg: cfg, wait: wait}
	s.splitter, _ = cfg.Parser.(Splitter)
	s.checker, _ = cfg.Parser.(Checker)
	return s
}

// wait waits for d or the end of ctx.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
