package cassandra

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"github.com/millstream-io/millstream/connectors"
)

// Config is what a Sink writes, where and how. Hosts, Keyspace, Tables and Rows
// are required; the zero value of every other field is its default.
type Config struct {
	// Hosts are where it first asks for the cluster: "host" or "host:port"
	// (9042 without one). The other nodes are found through them.
	Hosts    []string
	Keyspace string
	// Tables are those that Rows writes. They are checked at Open.
	Tables []TableSpec
	// Rows makes the rows of a record: FromValue, FromKeyValue or a function.
	Rows Rows

	// Create makes the keyspace, the user-defined types and the tables at Open
	// where they do not exist. Existing ones are checked, never altered.
	Create bool
	// Replication of a keyspace that Create makes, as CQL has it; default
	// {'class': 'SimpleStrategy', 'replication_factor': 1}: one copy, for trying out.
	Replication string
	// Schema are CQL statements to run at each Open, after the keyspace is made and
	// before tables are: each must stand being repeated (IF NOT EXISTS).
	Schema []string

	// Timestamps of the writes; default OffsetTime.
	Timestamps Timestamps
	// Consistency of the writes: ANY, ONE, TWO, THREE, QUORUM, LOCAL_ONE, EACH_QUORUM, ALL;
	// default LOCAL_QUORUM.
	Consistency string
	// Datacenter is the local one: only its nodes are asked while they are up.
	// Default: all nodes alike.
	Datacenter string

	Username string
	Password connectors.Secret
	TLS      *TLS // nil: plain connections

	// InFlight bounds the requests at a time; default 128. Under overload it is
	// less for a while.
	InFlight int
	// Connections to each node; default 2.
	Connections int
	// BatchRows and BatchBytes bound an unlogged batch, whose rows are all of one
	// partition key; defaults 100 and 64 KiB.
	BatchRows, BatchBytes int
	// MaxRowBytes is the largest row; a larger one is a dead letter. Default 4 MiB;
	// Cassandra itself refuses a row of half a commit log segment (16 MiB).
	MaxRowBytes int
	// Timeout of one request, longer than the cluster's own (2 s for writes); default 10 s.
	Timeout time.Duration
	// ConnectTimeout of a connection; default 5 s.
	ConnectTimeout time.Duration
	// Attempts at a request within one Write before the engine's own retry takes
	// over; default 4.
	Attempts int
	// Backoff before the second attempt, doubled (with jitter) up to 2 s before
	// each further one; default 50 ms.
	Backoff time.Duration
}

// TLS is how connections are encrypted. The zero value trusts the system's
// authorities and checks the name of the host.
type TLS struct {
	CA         string // file of PEM certificates to trust instead of the system's
	Cert, Key  string // files of the client's certificate and key, where the cluster asks for one
	ServerName string // name to expect in the certificates; default: the host that is dialed
	// SkipVerify accepts any certificate: encrypted, but not safe from an impostor.
	SkipVerify bool
}

// Timestamps says which write timestamp a row gets.
type Timestamps uint8

const (
	// OffsetTime is the topic's creation time in microseconds plus the record's
	// offset: the later record of a partition wins, replays change nothing.
	OffsetTime Timestamps = iota
	// EventTime is the record's timestamp in microseconds, for facts of which the
	// latest by event time holds, wherever it comes from. Records of equal event
	// time with different values end at the greater value, not at the later one.
	EventTime
)

func (t Timestamps) String() string {
	if t == EventTime {
		return "event time"
	}
	return "offset"
}

const maxBackoff = 2 * time.Second

func (c Config) withDefaults() Config {
	defaulted(&c.Replication, "{'class': 'SimpleStrategy', 'replication_factor': 1}")
	defaulted(&c.Consistency, "LOCAL_QUORUM")
	defaulted(&c.InFlight, 128)
	defaulted(&c.Connections, 2)
	defaulted(&c.BatchRows, 100)
	defaulted(&c.BatchBytes, 64<<10)
	defaulted(&c.MaxRowBytes, 4<<20)
	defaulted(&c.Timeout, 10*time.Second)
	defaulted(&c.ConnectTimeout, 5*time.Second)
	defaulted(&c.Attempts, 4)
	defaulted(&c.Backoff, 50*time.Millisecond)
	return c
}

func defaulted[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// identifier is what needs no quotes in CQL; others are quoted.
var identifier = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

var keyspaceName = regexp.MustCompile(`^[A-Za-z0-9_]{1,48}$`)

// quoted is a name as CQL wants it.
func quoted(name string) string {
	if identifier.MatchString(name) && !reserved[name] {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// reserved are CQL's reserved words.
var reserved = func() map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(`add allow alter and apply asc authorize batch begin by columnfamily create default delete desc
		describe drop entries execute from full grant if in index infinity insert into is keyspace limit materialized mbean mbeans
		modify nan norecursive not null of on or order primary rename replace revoke schema select set table to token truncate
		unlogged unset update use using view where with`) {
		m[w] = true
	}
	return m
}()

// validate reports every mistake of a Config with its defaults.
func (c *Config) validate() error {
	var all []error
	bad := func(format string, args ...any) { all = append(all, fmt.Errorf(format, args...)) }
	if len(c.Hosts) == 0 {
		bad("Hosts is empty: name at least one node of the cluster")
	}
	for _, h := range c.Hosts {
		if err := checkHost(h); err != nil {
			bad("Hosts: %w", err)
		}
	}
	if !keyspaceName.MatchString(c.Keyspace) {
		bad("Keyspace %q: 1 to 48 letters, digits and underscores expected", c.Keyspace)
	}
	c.validateTables(bad)
	if c.Rows == nil {
		bad("Rows is nil: say how a record becomes rows (FromValue, FromKeyValue or a function)")
	}
	if _, err := gocql.ParseConsistencyWrapper(c.Consistency); err != nil {
		bad("Consistency %q: expected ANY, ONE, TWO, THREE, QUORUM, ALL, LOCAL_QUORUM, EACH_QUORUM or LOCAL_ONE", c.Consistency)
	}
	if c.Timestamps > EventTime {
		bad("Timestamps %d: expected OffsetTime or EventTime", c.Timestamps)
	}
	if c.Username == "" && !c.Password.IsZero() {
		bad("Password without Username")
	}
	if c.TLS != nil && (c.TLS.Cert == "") != (c.TLS.Key == "") {
		bad("TLS: Cert and Key belong together, only one is given")
	}
	for name, n := range map[string]int{"InFlight": c.InFlight, "Connections": c.Connections, "BatchRows": c.BatchRows,
		"BatchBytes": c.BatchBytes, "MaxRowBytes": c.MaxRowBytes, "Attempts": c.Attempts} {
		if n < 0 {
			bad("%s is %d: expected more than 0", name, n)
		}
	}
	if c.Timeout < 0 || c.ConnectTimeout < 0 || c.Backoff < 0 {
		bad("Timeout %v, ConnectTimeout %v and Backoff %v: expected more than 0", c.Timeout, c.ConnectTimeout, c.Backoff)
	}
	if len(all) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrConfig, errors.Join(all...))
}

func (c *Config) validateTables(bad func(string, ...any)) {
	if len(c.Tables) == 0 {
		bad("Tables is empty: name the tables that Rows writes")
	}
	seen := map[string]bool{}
	for i, spec := range c.Tables {
		if spec == nil {
			bad("Tables[%d] is nil", i)
			continue
		}
		t := spec.table()
		for _, err := range t.problems {
			bad("table %s: %w", t.name, err)
		}
		if seen[t.name] {
			bad("table %s is named twice", t.name)
		}
		seen[t.name] = true
	}
}

func checkHost(h string) error {
	host, port, err := net.SplitHostPort(h)
	if err != nil { // no port
		host, port = h, "9042"
	}
	n, err := strconv.Atoi(port)
	switch {
	case host == "":
		return fmt.Errorf("%q: no host name", h)
	case err != nil || n < 1 || n > 65535:
		return fmt.Errorf("%q: port %q, expected 1 to 65535", h, port)
	}
	return nil
}
