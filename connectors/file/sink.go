package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
)

// Compression of a Sink's files.
type Compression uint8

const (
	Plain Compression = iota
	Gzip
	Zstd
)

// extension of a file's name.
func (c Compression) extension() string { return [...]string{"", ".gz", ".zst"}[c] }

// SinkConfig is where a Sink writes and how. The zero value of a field is its default.
type SinkConfig struct {
	Dir    string // made if it is missing
	Format Format // default: Values, lines
	// Extension of the files' names, before that of the compression. Default ".log".
	Extension   string
	Compression Compression // default Plain
	// MaxBytes finishes a file when it has reached that size, as it lies on the
	// disk. Default 128 MiB.
	MaxBytes int64
	// MaxAge finishes a file when its first record came that long ago. Default one
	// hour; negative: never.
	MaxAge time.Duration
	// Now is the clock of MaxAge; default time.Now.
	Now func() time.Time
}

// Sink writes a topic into files, each record into exactly one finished file.
//
// A file is named <topic>-<partition>-<offset of its first record>, with twenty
// digits, and has the records of that partition up to the next file's first. It
// grows under the name .<name>.part and gets its own, by a rename, when it is
// finished (by size, by age, or when the run ends); then it never changes, so it
// may be moved away or deleted. What Write has acknowledged is on the disk.
//
// Beside the files, .<topic>-<partition>.journal says what the part file holds up
// to which offset. After a crash the part file is cut back to it, and records
// that it (or a finished file) has already are passed over when they come again:
// so nothing is missing from the finished files, nor there twice. Another topic
// under the same name (another log) is refused: ErrOtherTopic.
type Sink struct {
	cfg  SinkConfig
	info connectors.SinkContext

	mu     sync.Mutex
	dir    *os.File
	parts  map[record.Partition]*part
	failed error // of a file that was finished by age
	timer  *time.Timer
	packed packer
}

var _ connectors.Sink = (*Sink)(nil)

// NewSink makes a sink. What is wrong with cfg is told by Open.
func NewSink(cfg SinkConfig) *Sink {
	if cfg.Format == nil {
		cfg.Format = Values{}
	}
	if cfg.Extension == "" {
		cfg.Extension = ".log"
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 128 << 20
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = time.Hour
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Sink{cfg: cfg}
}

// Open makes the directory if it is missing and takes up what an earlier run left.
func (s *Sink) Open(_ context.Context, info connectors.SinkContext) error {
	s.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cfg.Dir == "" {
		return connectors.Permanent(errors.New("file sink: Dir is empty"))
	}
	if s.cfg.Compression > Zstd || s.cfg.MaxBytes < 0 {
		return connectors.Permanent(fmt.Errorf("file sink: Compression %d and MaxBytes %d: expected Plain, Gzip or Zstd, and more than 0", s.cfg.Compression, s.cfg.MaxBytes))
	}
	if err := s.open(info); err != nil {
		return fmt.Errorf("file sink: %s: %w", s.cfg.Dir, err)
	}
	return nil
}

func (s *Sink) open(info connectors.SinkContext) (err error) {
	if err := os.MkdirAll(s.cfg.Dir, 0o755); err != nil {
		return err
	}
	if s.dir, err = os.Open(s.cfg.Dir); err != nil {
		return err
	}
	s.info, s.parts, s.failed = info, map[record.Partition]*part{}, nil
	for p := range record.Partition(info.Partitions) {
		if err := s.take(p); err != nil {
			return err
		}
	}
	s.arm()
	return nil
}

// take takes up a partition: what its journal says, if it has one.
func (s *Sink) take(p record.Partition) (err error) {
	pt := &part{s: s, base: fmt.Sprintf("%s-%d", s.info.Topic.Name, p)}
	if pt.journal, err = openJournal(filepath.Join(s.cfg.Dir, "."+pt.base+".journal"), s.info.Topic.ID); err != nil {
		return err
	}
	s.parts[p] = pt
	return pt.recover()
}

// Write writes the records that are not in a file yet, and returns when they are
// on the disk. A record that Format refuses is a dead letter.
func (s *Sink) Write(_ context.Context, records []connectors.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir == nil {
		return errors.New("file sink: it is not open")
	}
	if err := s.failed; err != nil {
		s.failed = nil
		return fmt.Errorf("file sink: %w", err)
	}
	bad := (*connectors.RecordError)(nil)
	var touched []*part
	for i := range records {
		r := &records[i]
		pt, ok := s.parts[r.Partition]
		if !ok {
			if err := s.take(r.Partition); err != nil {
				return fmt.Errorf("file sink: %w", err)
			}
			pt = s.parts[r.Partition]
		}
		if err := pt.add(r); err != nil {
			bad = &connectors.RecordError{Index: i, Err: err}
			break
		}
		if len(touched) == 0 || touched[len(touched)-1] != pt && !slices.Contains(touched, pt) {
			touched = append(touched, pt)
		}
	}
	for _, pt := range touched {
		if err := pt.flush(); err != nil {
			for _, other := range touched {
				other.buf = other.buf[:0]
				other.pending = other.journal.last
			}
			return fmt.Errorf("file sink: %w", err)
		}
	}
	s.arm()
	if bad != nil {
		return bad
	}
	return nil
}

// arm sets the timer for the next file that is to be finished by age.
func (s *Sink) arm() {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	if s.cfg.MaxAge < 0 {
		return
	}
	var due time.Time
	for _, pt := range s.parts {
		if pt.file != nil && (due.IsZero() || pt.began.Before(due)) {
			due = pt.began
		}
	}
	if !due.IsZero() {
		s.timer = time.AfterFunc(max(due.Add(s.cfg.MaxAge).Sub(s.cfg.Now()), 0), func() { s.finishOld() })
	}
}

// finishOld finishes the files whose age has come. Its error is Write's.
func (s *Sink) finishOld() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir == nil {
		return
	}
	for _, pt := range s.parts {
		if pt.file != nil && s.cfg.Now().Sub(pt.began) >= s.cfg.MaxAge {
			s.failed = errors.Join(s.failed, pt.finish())
		}
	}
	if s.failed == nil {
		s.arm()
	}
}

// Close finishes the files that are being written.
func (s *Sink) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	if s.dir == nil {
		return nil
	}
	var errs []error
	for _, pt := range s.parts {
		if pt.file != nil {
			errs = append(errs, pt.finish())
		}
		errs = append(errs, pt.close())
	}
	errs = append(errs, s.dir.Close())
	s.dir, s.parts = nil, nil
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("file sink: %w", err)
	}
	return nil
}
