package cassandra

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// keyspace is what system_schema says of one.
type keyspace struct {
	name   string
	exists bool
	tables map[string][]tableColumn // by table; also those of views
	views  map[string]bool
	types  map[string][]typeField // user-defined types
	// dropped are columns that were dropped, maybe to be added again: when, by
	// table and column.
	dropped map[string]map[string]time.Time
}

// tableColumn is a column of a table that exists.
type tableColumn struct {
	name     string
	kind     string // partition_key, clustering, regular, static
	position int    // among its kind of key
	typ      string
}

// check compares what Config.Tables says with what exists and makes the plans of
// the tables. The error is one ErrSchema with every problem. Write timestamps
// begin at epoch, microseconds; 0: they may be any.
func (k *keyspace) check(tables []TableSpec, epoch int64) ([]*plan, error) {
	if !k.exists {
		return nil, fmt.Errorf("%w: keyspace %s does not exist: create it (CREATE KEYSPACE %s WITH replication = ...), or set Config.Create",
			ErrSchema, k.name, quoted(k.name))
	}
	var problems []error
	var plans []*plan
	for i, spec := range tables {
		p := &plan{table: spec.table(), index: i}
		p.full = quoted(k.name) + "." + quoted(p.table.name)
		if all := k.checkTable(p, epoch); len(all) > 0 {
			problems = append(problems, all...)
			continue
		}
		p.prepare()
		plans = append(plans, p)
	}
	if len(problems) == 0 {
		return plans, nil
	}
	lines := make([]string, len(problems))
	for i, err := range problems {
		lines[i] = err.Error()
	}
	return nil, fmt.Errorf("%w, %d problems:\n  %s", ErrSchema, len(problems), strings.Join(lines, "\n  "))
}

// checkTable finds every difference of one table and sets p's encoders.
func (k *keyspace) checkTable(p *plan, epoch int64) (problems []error) {
	t := p.table
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	actual, ok := k.tables[t.name]
	switch {
	case k.views[t.name]:
		bad("%s is a materialized view, which only Cassandra writes: write its base table", p.full)
		return problems
	case !ok:
		bad("table %s does not exist: %s; or set Config.Create", p.full, strings.Join(t.create(k.name), "; "))
		return problems
	}
	byName := map[string]tableColumn{}
	for _, c := range actual {
		byName[c.name] = c
		if c.typ == "counter" {
			bad("%s.%s is a counter: %s", p.full, quoted(c.name), whyNoCounters)
			return problems
		}
	}
	for _, kind := range []columnKind{partitionKey, clustering} {
		if want, got := t.keyNames(kind), keyNames(actual, kind); !slices.Equal(want, got) {
			bad("the %s of %s is (%s), and %v says (%s): order and tags of its fields must be the table's",
				kindText[kind], p.full, strings.Join(got, ", "), t.row, strings.Join(want, ", "))
		}
	}
	p.covers = true
	for _, c := range t.columns {
		have, ok := byName[c.name]
		delete(byName, c.name)
		if !ok {
			bad("%s has no column %s: ALTER TABLE %s ADD %s %s%s; or remove the field of %v",
				p.full, quoted(c.name), p.full, quoted(c.name), c.typ.definition(false), staticSuffix(c), t.row)
			continue
		}
		if at := k.dropped[t.name][c.name]; epoch > 0 && at.UnixMicro() >= epoch {
			bad("%s.%s was dropped at %v and added again: Cassandra hides what has an earlier write timestamp than that, and the sink's begin at %v (the topic's creation); write a column of another name",
				p.full, quoted(c.name), at.UTC().Format(time.RFC3339), time.UnixMicro(epoch).UTC().Format(time.RFC3339))
			continue
		}
		e, typ, err := k.checkColumn(p, c, have)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		p.encoders, p.types = append(p.encoders, e), append(p.types, typ)
	}
	for _, c := range byName {
		p.covers = p.covers && c.kind == "static"
	}
	return problems
}

var kindText = map[columnKind]string{partitionKey: "partition key", clustering: "clustering key"}

// checkColumn finds the encoder and the type of one column.
func (k *keyspace) checkColumn(p *plan, c column, have tableColumn) (encoder, cqlType, error) {
	name := p.full + "." + quoted(c.name)
	if c.kind >= regular && have.kind != c.kind.String() && (have.kind == "static" || have.kind == "regular") {
		return nil, cqlType{}, fmt.Errorf("%s is %s, and %v says %s: change the tag of its field", name, have.kind, p.table.row, c.kind)
	}
	typ, err := parseType(have.typ)
	if err == nil {
		typ, err = k.resolve(typ)
	}
	if err != nil {
		return nil, cqlType{}, fmt.Errorf("%s: %w", name, err)
	}
	if c.declared && !c.typ.equal(typ) {
		return nil, cqlType{}, fmt.Errorf("%s is %v, and the tag of its field says %v: change the tag, or write another column", name, typ, c.typ)
	}
	e, err := encoderFor(c.goType, typ)
	if err != nil {
		return nil, cqlType{}, fmt.Errorf("%s: %w: change the field's type, or write another column", name, err)
	}
	return e, typ, nil
}

// resolve fills in the fields of user-defined types.
func (k *keyspace) resolve(t cqlType) (cqlType, error) {
	if !t.builtIn() && t.name != "" && t.name[0] > '9' {
		fields, ok := k.types[t.name]
		if !ok {
			return t, fmt.Errorf("type %v does not exist in keyspace %s", t, k.name)
		}
		t.fields = slices.Clone(fields)
		for i := range t.fields {
			var err error
			if t.fields[i].typ, err = k.resolve(t.fields[i].typ); err != nil {
				return t, err
			}
		}
	}
	t.args = slices.Clone(t.args)
	for i := range t.args {
		if t.name == "vector" && i == 1 {
			continue
		}
		var err error
		if t.args[i], err = k.resolve(t.args[i]); err != nil {
			return t, err
		}
	}
	return t, nil
}

func (t *table) keyNames(kind columnKind) []string {
	var names []string
	for _, c := range t.columns {
		if c.kind == kind {
			names = append(names, quoted(c.name))
		}
	}
	return names
}

func keyNames(columns []tableColumn, kind columnKind) []string {
	var of []tableColumn
	for _, c := range columns {
		if c.kind == kind.String() {
			of = append(of, c)
		}
	}
	slices.SortFunc(of, func(a, b tableColumn) int { return a.position - b.position })
	var names []string
	for _, c := range of {
		names = append(names, quoted(c.name))
	}
	return names
}

func staticSuffix(c column) string {
	if c.kind == static {
		return " static"
	}
	return ""
}

// create is the CQL that makes the table and its types.
func (t *table) create(keyspace string) []string {
	var all []string
	made := map[string]bool{}
	for _, c := range t.columns {
		for _, u := range c.typ.userTypes(nil) {
			if made[u.name] {
				continue
			}
			made[u.name] = true
			var fields []string
			for _, f := range u.fields {
				fields = append(fields, quoted(f.name)+" "+f.typ.definition(true))
			}
			all = append(all, fmt.Sprintf("CREATE TYPE IF NOT EXISTS %s.%s (%s)", quoted(keyspace), quoted(u.name), strings.Join(fields, ", ")))
		}
	}
	var columns, order []string
	for _, c := range t.columns {
		columns = append(columns, quoted(c.name)+" "+c.typ.definition(c.kind < regular)+staticSuffix(c))
		if c.kind == clustering {
			direction := "ASC"
			if c.desc {
				direction = "DESC"
			}
			order = append(order, quoted(c.name)+" "+direction)
		}
	}
	key := append([]string{"(" + strings.Join(t.keyNames(partitionKey), ", ") + ")"}, t.keyNames(clustering)...)
	s := fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s.%s (%s, PRIMARY KEY (%s))",
		quoted(keyspace), quoted(t.name), strings.Join(columns, ", "), strings.Join(key, ", "))
	var with []string
	if len(order) > 0 {
		with = append(with, "CLUSTERING ORDER BY ("+strings.Join(order, ", ")+")")
	}
	if t.with != "" {
		with = append(with, t.with)
	}
	if len(with) > 0 {
		s += " WITH " + strings.Join(with, " AND ")
	}
	return append(all, s)
}

// CQL is what Create runs, in order: for those who make the schema by hand.
func (c Config) CQL() ([]string, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	return append([]string{c.createKeyspace()}, c.createTables()...), nil
}

func (c *Config) createKeyspace() string {
	return fmt.Sprintf("CREATE KEYSPACE IF NOT EXISTS %s WITH replication = %s", quoted(c.Keyspace), c.Replication)
}

// createTables is Config.Schema and, with Create, what makes types and tables.
func (c *Config) createTables() []string {
	all := slices.Clone(c.Schema)
	if c.Create {
		for _, spec := range c.Tables {
			all = append(all, spec.table().create(c.Keyspace)...)
		}
	}
	return all
}
