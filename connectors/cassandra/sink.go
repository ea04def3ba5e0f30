package cassandra

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
)

// Sink writes rows into Cassandra. Make one by New and give it to the engine.
//
// Invariant: session is nil until Open and after Close; plans fit what the
// schema was when it was last read, unless stale is set.
type Sink struct {
	cfg    Config
	dial   dial
	logger *slog.Logger
	opened bool
	epoch  int64 // write timestamp of offset 0, microseconds

	session session
	plans   map[*table]*plan
	stale   bool // the schema has to be read before the next Write

	limit  *limiter
	memory memory
	merge  *merge
	rows   []Row

	counts struct{ written, requests, retries, rejected, coalesced atomic.Int64 }
}

var _ connectors.Sink = (*Sink)(nil)

// New makes a sink. A Config that cannot work is an error of Open; Config.Validate
// tells before.
func New(cfg Config) *Sink {
	cfg = cfg.withDefaults()
	return &Sink{cfg: cfg, dial: dialDriver, limit: newLimiter(max(1, cfg.InFlight)), merge: newMerge()}
}

// Validate reports every mistake in c as one ErrConfig.
func (c Config) Validate() error {
	c = c.withDefaults()
	return c.validate()
}

// Stats are counts since New.
type Stats struct {
	Rows      int64 // upserts and deletes that Cassandra has acknowledged
	Requests  int64 // that carried them: single statements and batches
	Coalesced int64 // changes that were left out for a later one of the same row
	Retries   int64 // requests that were repeated
	Rejected  int64 // records that became dead letters
	InFlight  int   // how many requests at a time it allows itself now
}

// Stats may be called from any goroutine.
func (s *Sink) Stats() Stats {
	return Stats{s.counts.written.Load(), s.counts.requests.Load(), s.counts.coalesced.Load(),
		s.counts.retries.Load(), s.counts.rejected.Load(), s.limit.now()}
}

// Open connects, makes what Config.Create asks for and checks the tables. What
// may pass by itself (a cluster that is not up yet) is connectors.Transient.
func (s *Sink) Open(ctx context.Context, cfg connectors.SinkContext) error {
	if err := s.Close(); err != nil {
		return err
	}
	if err := s.cfg.validate(); err != nil {
		return connectors.Permanent(err)
	}
	if cfg.Topic.CreatedMS <= 0 && s.cfg.Timestamps == OffsetTime {
		return connectors.Permanent(fmt.Errorf("%w: the creation time of topic %q is unknown, and write timestamps begin there; set Timestamps to EventTime if event times order the rows",
			ErrConfig, cfg.Topic.Name))
	}
	s.epoch = cfg.Topic.CreatedMS * 1000
	if s.logger = cfg.Logger; s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	if err := s.connect(ctx, true); err != nil {
		return opening(err, s.cfg.Hosts)
	}
	s.opened = true
	return nil
}

// connect makes a session and the plans of the tables.
func (s *Sink) connect(ctx context.Context, create bool) error {
	first, err := s.dial(ctx, &s.cfg, "", s.logger) // the keyspace may not exist yet
	if err != nil {
		return err
	}
	k, err := s.keyspace(ctx, first, create)
	first.close()
	if err == nil && !k.exists {
		_, err = k.check(s.cfg.Tables, 0)
	}
	if err != nil {
		return err
	}
	session, err := s.dial(ctx, &s.cfg, s.cfg.Keyspace, s.logger)
	if err != nil {
		return err
	}
	if create {
		err = runAll(ctx, session, s.cfg.createTables())
	}
	if err == nil {
		err = s.readPlans(ctx, session)
	}
	if err != nil {
		session.close()
		return err
	}
	s.session = session
	return nil
}

// keyspace creates the keyspace if asked to, and tells whether it exists.
func (s *Sink) keyspace(ctx context.Context, c session, create bool) (*keyspace, error) {
	if create && s.cfg.Create {
		if err := runAll(ctx, c, []string{s.cfg.createKeyspace()}); err != nil {
			return nil, err
		}
	}
	return c.schema(ctx, s.cfg.Keyspace)
}

func runAll(ctx context.Context, c session, statements []string) error {
	for _, cql := range statements {
		if err := c.run(ctx, cql); err != nil {
			return fmt.Errorf("%s: %w", cql, err)
		}
	}
	return nil
}

// readPlans checks the tables against the schema as it is now.
func (s *Sink) readPlans(ctx context.Context, c session) error {
	k, err := c.schema(ctx, s.cfg.Keyspace)
	if err != nil {
		return err
	}
	epoch := s.epoch
	if s.cfg.Timestamps == EventTime {
		epoch = 0
	}
	plans, err := k.check(s.cfg.Tables, epoch)
	if err != nil {
		return err
	}
	s.plans = map[*table]*plan{}
	for _, p := range plans {
		s.plans[p.table] = p
	}
	s.stale = false
	return nil
}

// schemaChanged reports whether a request may have been refused because the
// tables are not what the plans are made for; the error says what is wrong now.
func (s *Sink) schemaChanged(ctx context.Context) (bool, error) {
	before := s.plans
	if err := s.readPlans(ctx, s.session); err != nil {
		s.stale = true
		return true, err
	}
	for t, p := range before {
		if !p.sameAs(s.plans[t]) {
			return true, fmt.Errorf("table %s was altered while it was written", p.full)
		}
	}
	return false, nil
}

// Write returns when Cassandra has acknowledged every row of the records at
// Config.Consistency. Otherwise a *connectors.WriteError says which records are
// refused for good and which have to come again.
func (s *Sink) Write(ctx context.Context, records []connectors.Record) error {
	if !s.opened {
		return ErrNotOpen
	}
	if err := s.ready(ctx); err != nil {
		return fmt.Errorf("cassandra: %w", err)
	}
	out := outcome{rejected: map[int]error{}, again: map[int]bool{}}
	s.merge.reset()
	s.memory.reset()
	for i := range records {
		if err := s.collect(i, &records[i]); err != nil {
			out.rejected[i] = err
		}
	}
	for ops := s.merge.live(); len(ops) > 0; {
		s.send(ctx, ops)
		ops = s.judge(ctx, ops, &out)
	}
	s.counts.coalesced.Store(s.merge.coalesced)
	s.counts.rejected.Add(int64(len(out.rejected)))
	if errors.Is(out.err, gocql.ErrNoConnections) {
		s.drop() // the nodes may be others by now: look again from Hosts on
	}
	return out.error()
}

// ready reconnects and reads the schema again where that is needed.
func (s *Sink) ready(ctx context.Context) error {
	switch {
	case s.session == nil:
		return s.connect(ctx, false)
	case s.stale:
		return s.readPlans(ctx, s.session)
	}
	return nil
}

// collect encodes the rows of one record. Either all of them are taken, or none.
func (s *Sink) collect(i int, r *connectors.Record) error {
	var err error
	s.rows, err = s.rowsOf(r)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRow, err)
	}
	ts := s.epoch + int64(r.Offset)
	if s.cfg.Timestamps == EventTime {
		if ts = r.Timestamp * 1000; r.Timestamp == record.NoTimestamp {
			return fmt.Errorf("%w: the record has no timestamp, and rows are written by event time", ErrRow)
		}
	}
	ops := s.memory.ops.take(len(s.rows))
	for n, row := range s.rows {
		p := s.plans[row.table]
		if p == nil {
			return fmt.Errorf("%w: row %d is of no table of Config.Tables", ErrRow, n)
		}
		if err := p.encode(&s.memory, row, &ops[n]); err != nil {
			return err
		}
		if size := ops[n].size; size > s.cfg.MaxRowBytes {
			return fmt.Errorf("%w: table %s: %d bytes, more than the %d of Config.MaxRowBytes", ErrRow, p.full, size, s.cfg.MaxRowBytes)
		}
		ops[n].record, ops[n].ts = i, ts
	}
	for n := range ops {
		s.merge.add(&ops[n])
	}
	return nil
}

// rowsOf calls the program's function.
func (s *Sink) rowsOf(r *connectors.Record) (rows []Row, err error) {
	defer func() {
		if p := recover(); p != nil {
			rows, err = s.rows[:0], fmt.Errorf("panic in Rows: %v", p)
		}
	}()
	return s.cfg.Rows(s.rows[:0], r)
}

func (s *Sink) drop() {
	if s.session != nil {
		s.session.close()
		s.session = nil
	}
}

// Close ends the connections.
func (s *Sink) Close() error {
	s.drop()
	s.opened = false
	return nil
}
