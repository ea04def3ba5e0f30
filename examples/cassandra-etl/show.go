package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
)

// showRows is how many rows of a table a run shows at its end.
const showRows = 8

// showTables reads some rows back from Cassandra and prints them.
func (j *job) showTables(ctx context.Context) error {
	cluster := gocql.NewCluster(j.c.hosts...)
	cluster.Keyspace = j.c.keyspace
	cluster.Timeout, cluster.ConnectTimeout = 10*time.Second, 10*time.Second
	session, err := cluster.CreateSession()
	if err != nil {
		return fmt.Errorf("reading the tables back: %w", err)
	}
	defer session.Close()
	for _, table := range []string{dailySalesTable, ordersByCustomerTable} {
		if err := j.showTable(ctx, session, table); err != nil {
			return fmt.Errorf("reading %s back: %w", table, err)
		}
	}
	return nil
}

func (j *job) showTable(ctx context.Context, session *gocql.Session, table string) error {
	out := j.std.out
	if j.c.out == "rows" {
		out = j.std.err // stdout is for the rows
	}
	it := session.Query(fmt.Sprintf("SELECT * FROM %s LIMIT %d", table, showRows)).IterContext(ctx)
	fmt.Fprintf(out, "%s.%s in Cassandra, some rows:\n", j.c.keyspace, table)
	for {
		row := map[string]any{}
		if !it.MapScan(row) {
			break
		}
		var cells []string
		for _, c := range it.Columns() {
			cells = append(cells, c.Name+"="+cell(row[c.Name]))
		}
		fmt.Fprintln(out, "  "+strings.Join(cells, "  "))
	}
	fmt.Fprintln(out)
	return it.Close()
}

// cell is a value for people.
func cell(v any) string {
	switch v := v.(type) {
	case time.Time:
		return strings.TrimSuffix(v.UTC().Format(time.RFC3339), "T00:00:00Z")
	case map[string]int64:
		return strings.Trim(fmt.Sprint(v), "map")
	}
	return fmt.Sprint(v)
}
