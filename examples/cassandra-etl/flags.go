package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
)

// config is what the flags say.
type config struct {
	orders, customers string // files

	generate    string // directory
	ordersCount int
	seed        uint64

	out    string // rows or summary
	output string // text or json

	hosts        []string // of Cassandra; none: print only
	keyspace     string
	createSchema bool

	dir        string // "": a temporary one
	partitions int
	workers    int
}

// defaultOrders is how many orders are generated where no number is given.
const defaultOrders = 300_000

// usageError is wrong usage: exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// parseFlags reads and checks the command line. Errors other than flag.ErrHelp
// are usageErrors of one line.
func parseFlags(args []string, help io.Writer) (config, error) {
	var c config
	var hosts string
	fs := flag.NewFlagSet("cassandra-etl", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&c.orders, "orders", "", "read orders, one JSON object a line, from `FILE` (also .gz and .zst)")
	fs.StringVar(&c.customers, "customers", "", "read customers, CSV with a header, from `FILE`")
	fs.StringVar(&c.out, "out", "summary", "print `what`: rows, each with its last state, in order; or summary")
	fs.StringVar(&c.output, "o", "text", "print rows as `text` for people or json, one object a line")
	fs.StringVar(&hosts, "cassandra", "", "write the tables to Cassandra at `HOST:PORT[,HOST:PORT]`")
	fs.StringVar(&c.keyspace, "keyspace", "shop", "the `KEYSPACE` of the tables")
	fs.BoolVar(&c.createSchema, "create-schema", false, "make keyspace and tables where they do not exist")
	fs.StringVar(&c.generate, "generate", "", "write orders.jsonl and customers.csv to try it with into `DIR`, and stop")
	fs.IntVar(&c.ordersCount, "orders-count", defaultOrders, "how many orders to generate")
	fs.Uint64Var(&c.seed, "seed", 1, "what the generated files depend on")
	fs.StringVar(&c.dir, "dir", "", "keep log and state in `DIR` and go on there the next time")
	fs.IntVar(&c.partitions, "partitions", 4, "partitions of the topics")
	fs.IntVar(&c.workers, "workers", 0, "workers (default one per core)")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(help, "Usage: cassandra-etl [-orders FILE -customers FILE] [-cassandra HOST:PORT] [flags]\n       cassandra-etl -generate DIR [-orders-count N] [-seed S]")
			fs.SetOutput(help)
			fs.PrintDefaults()
			return c, flag.ErrHelp
		}
		return c, usageError{err}
	}
	if hosts != "" {
		c.hosts = strings.Split(hosts, ",")
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if err := c.check(given, fs.Args()); err != nil {
		return c, usageError{errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))}
	}
	return c, nil
}

var keyspaceName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,47}$`)

// check reports every problem at once.
func (c *config) check(given map[string]bool, rest []string) error {
	var errs []error
	wrong := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	if len(rest) > 0 {
		wrong(false, "unexpected argument %q: all arguments are flags", rest[0])
	}
	files := given["orders"] || given["customers"]
	wrong(!files || c.orders != "" && c.customers != "", "-orders and -customers belong together: give both files, or neither to try it with generated ones")
	wrong(!given["generate"] || c.generate != "", "-generate: the directory's name is empty")
	if c.generate != "" {
		for _, name := range []string{"orders", "customers", "cassandra", "dir", "out", "o"} {
			wrong(!given[name], "-%s does not go with -generate, which only writes files", name)
		}
	}
	wrong(!files || !given["orders-count"] && !given["seed"], "-orders-count and -seed are for generated orders, not with -orders")
	wrong(files || c.generate != "" || c.dir == "", "-dir needs -orders and -customers: generated orders run in a temporary directory")
	wrong(c.orders != "-" && c.customers != "-", "standard input cannot be read again where a run was killed: give files")
	wrong(c.ordersCount >= 1 && c.ordersCount <= 1_000_000_000, "-orders-count %d: expected 1 to 1,000,000,000", c.ordersCount)
	wrong(c.out == "rows" || c.out == "summary", "-out %s: expected rows or summary", c.out)
	wrong(c.output == "text" || c.output == "json", "-o %s: expected text or json", c.output)
	wrong(c.partitions >= 1 && c.partitions <= 1024, "-partitions %d: expected 1 to 1024", c.partitions)
	wrong(c.workers >= 0, "-workers %d: expected at least 0", c.workers)
	wrong(keyspaceName.MatchString(c.keyspace), "-keyspace %q: expected a letter, then letters, digits and underscores, 48 at most", c.keyspace)
	wrong(len(c.hosts) > 0 || !given["keyspace"] && !c.createSchema, "-keyspace and -create-schema are for -cassandra HOST:PORT")
	for _, h := range c.hosts {
		wrong(goodHost(h), "-cassandra: %q, expected HOST or HOST:PORT", h)
	}
	return errors.Join(errs...)
}

func goodHost(h string) bool {
	host, port, err := net.SplitHostPort(h)
	if err != nil {
		return h != "" && !strings.ContainsAny(h, ":[] /")
	}
	n, err := strconv.Atoi(port)
	return host != "" && err == nil && n >= 1 && n <= 65535
}

// settings are the flags that the state depends on: the engine refuses to go on
// over the state of others.
func (c *config) settings() map[string]string {
	return map[string]string{"partitions": strconv.Itoa(c.partitions)}
}
