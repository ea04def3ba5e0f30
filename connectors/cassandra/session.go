package cassandra

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
)

// session is what the sink needs of a cluster. The driver's is the real one.
type session interface {
	// run runs one statement that is not prepared.
	run(ctx context.Context, cql string) error
	// write runs one prepared statement, or several as one unlogged batch.
	write(ctx context.Context, statements []statement, routingKey []byte) error
	// schema reads what there is of a keyspace.
	schema(ctx context.Context, keyspace string) (*keyspace, error)
	close()
}

// statement is CQL with its values, one for each mark.
type statement struct {
	cql    string
	values []any
}

// dial makes a session; keyspace may be empty, while it does not exist.
type dial func(ctx context.Context, cfg *Config, keyspace string, logger *slog.Logger) (session, error)

// driver is a session of the Apache driver.
type driver struct{ s *gocql.Session }

// dialDriver connects to the cluster. The driver knows no context: when ctx ends
// first, the session that comes later is closed at once.
func dialDriver(ctx context.Context, cfg *Config, keyspace string, logger *slog.Logger) (session, error) {
	cluster, err := clusterConfig(cfg, logger)
	if err != nil {
		return nil, err
	}
	cluster.Keyspace = keyspace
	type made struct {
		s   *gocql.Session
		err error
	}
	done := make(chan made, 1)
	go func() {
		s, err := cluster.CreateSession()
		done <- made{s, err}
	}()
	select {
	case m := <-done:
		if m.err != nil {
			return nil, m.err
		}
		return &driver{m.s}, nil
	case <-ctx.Done():
		go func() {
			if m := <-done; m.err == nil {
				m.s.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

func clusterConfig(cfg *Config, logger *slog.Logger) (*gocql.ClusterConfig, error) {
	c := gocql.NewCluster(cfg.Hosts...)
	consistency, err := gocql.ParseConsistencyWrapper(cfg.Consistency)
	if err != nil {
		return nil, err
	}
	c.Consistency = consistency
	c.Timeout, c.WriteTimeout, c.ConnectTimeout = cfg.Timeout, cfg.Timeout, cfg.ConnectTimeout
	c.NumConns = cfg.Connections
	c.DefaultIdempotence = true  // every statement says its timestamp
	c.DefaultTimestamp = false   // so the driver need not
	c.RetryPolicy = nextNode{}   // the rest of the retries is the sink's
	c.ReconnectInterval = second // a node that comes back is used at once
	c.ReconnectionPolicy = &gocql.ConstantReconnectionPolicy{MaxRetries: 1, Interval: 200 * time.Millisecond}
	c.Metadata.CacheMode = gocql.KeyspaceOnly
	c.Logger = driverLog{logger}
	var policy gocql.HostSelectionPolicy = gocql.RoundRobinHostPolicy()
	if cfg.Datacenter != "" {
		policy = gocql.DCAwareRoundRobinPolicy(cfg.Datacenter)
	}
	c.PoolConfig.HostSelectionPolicy = gocql.TokenAwareHostPolicy(policy, gocql.ShuffleReplicas())
	if cfg.Username != "" {
		password, err := cfg.Password.Reveal()
		if err != nil {
			return nil, fmt.Errorf("%w: Password: %w", ErrConfig, err)
		}
		c.Authenticator = gocql.PasswordAuthenticator{Username: cfg.Username, Password: password}
	}
	if cfg.TLS != nil {
		t, err := cfg.TLS.config()
		if err != nil {
			return nil, err
		}
		c.SslOpts = &gocql.SslOptions{Config: t, EnableHostVerification: !cfg.TLS.SkipVerify}
	}
	return c, nil
}

const second = time.Second

// config reads the files, at each Open anew.
func (t *TLS) config() (*tls.Config, error) {
	c := &tls.Config{ServerName: t.ServerName, InsecureSkipVerify: t.SkipVerify, MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("%w: TLS.CA: %w", ErrConfig, err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%w: TLS.CA: %s holds no PEM certificate", ErrConfig, t.CA)
		}
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("%w: TLS.Cert and TLS.Key: %w", ErrConfig, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// nextNode lets the driver ask another node once where the first one did not
// answer; what a node answered is the sink's business.
type nextNode struct{}

func (nextNode) Attempt(q gocql.RetryableQuery) bool { return q.Attempts() <= 1 }

func (nextNode) GetRetryType(err error) gocql.RetryType {
	var answer gocql.RequestError
	if errors.As(err, &answer) && answer.Code() != gocql.ErrCodeBootstrapping {
		return gocql.Rethrow
	}
	return gocql.RetryNextHost
}

func (d *driver) run(ctx context.Context, cql string) error {
	return d.s.Query(cql).ExecContext(ctx)
}

func (d *driver) write(ctx context.Context, statements []statement, routingKey []byte) error {
	if len(statements) == 1 {
		return d.s.Query(statements[0].cql, statements[0].values...).RoutingKey(routingKey).ExecContext(ctx)
	}
	b := d.s.Batch(gocql.UnloggedBatch)
	b.Entries = make([]gocql.BatchEntry, len(statements))
	for i, st := range statements {
		b.Entries[i] = gocql.BatchEntry{Stmt: st.cql, Args: st.values, Idempotent: true}
	}
	return b.ExecContext(ctx)
}

func (d *driver) close() { d.s.Close() }

func (d *driver) schema(ctx context.Context, name string) (*keyspace, error) {
	k := &keyspace{name: name, tables: map[string][]tableColumn{}, views: map[string]bool{}, types: map[string][]typeField{}, dropped: map[string]map[string]time.Time{}}
	var s string
	err := d.s.Query(`SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?`, name).ScanContext(ctx, &s)
	if errors.Is(err, gocql.ErrNotFound) {
		return k, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read system_schema: %w", err)
	}
	k.exists = true
	rows := d.s.Query(`SELECT table_name, column_name, kind, position, type FROM system_schema.columns WHERE keyspace_name = ?`, name).IterContext(ctx)
	var c tableColumn
	for rows.Scan(&s, &c.name, &c.kind, &c.position, &c.typ) {
		k.tables[s] = append(k.tables[s], c)
	}
	err = rows.Close()
	rows = d.s.Query(`SELECT view_name FROM system_schema.views WHERE keyspace_name = ?`, name).IterContext(ctx)
	for rows.Scan(&s) {
		k.views[s] = true
	}
	err = errors.Join(err, rows.Close())
	rows = d.s.Query(`SELECT table_name, column_name, dropped_time FROM system_schema.dropped_columns WHERE keyspace_name = ?`, name).IterContext(ctx)
	var at time.Time
	for rows.Scan(&s, &c.name, &at) {
		if k.dropped[s] == nil {
			k.dropped[s] = map[string]time.Time{}
		}
		k.dropped[s][c.name] = at
	}
	err = errors.Join(err, rows.Close())
	rows = d.s.Query(`SELECT type_name, field_names, field_types FROM system_schema.types WHERE keyspace_name = ?`, name).IterContext(ctx)
	var names, types []string
	for rows.Scan(&s, &names, &types) {
		for i := range names {
			t, bad := parseType(types[i])
			if bad != nil { // a tuple, say: an error only for who writes it
				t = cqlType{name: types[i]}
			}
			k.types[s] = append(k.types[s], typeField{names[i], t})
		}
	}
	if err = errors.Join(err, rows.Close()); err != nil {
		return nil, fmt.Errorf("read system_schema: %w", err)
	}
	return k, nil
}

// driverLog sends what the driver logs to slog. It is chatty about what a sink's
// state says better, so its Info is our Debug.
type driverLog struct{ to *slog.Logger }

func (l driverLog) log(level slog.Level, msg string, fields []gocql.LogField) {
	if !l.to.Enabled(context.Background(), level) {
		return
	}
	attrs := make([]slog.Attr, len(fields))
	for i, f := range fields {
		attrs[i] = slog.String(f.Name, f.Value.String())
	}
	l.to.LogAttrs(context.Background(), level, "driver: "+msg, attrs...)
}

func (l driverLog) Error(msg string, f ...gocql.LogField)   { l.log(slog.LevelWarn, msg, f) }
func (l driverLog) Warning(msg string, f ...gocql.LogField) { l.log(slog.LevelInfo, msg, f) }
func (l driverLog) Info(msg string, f ...gocql.LogField)    { l.log(slog.LevelDebug, msg, f) }
func (l driverLog) Debug(msg string, f ...gocql.LogField)   { l.log(slog.LevelDebug, msg, f) }
