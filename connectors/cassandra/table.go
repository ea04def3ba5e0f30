package cassandra

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Table is a table whose rows are the struct type T. Each exported field is a
// column; its tag `cql:"name,option,..."` names it (default: the field's name in
// snake case) and says what it is:
//
//	key          of the partition key; several fields: in their order
//	cluster      a clustering column; several fields: in their order
//	desc         with cluster: Create orders it downwards
//	static       a static column: one value for a partition
//	omitempty    a zero value leaves the column as it is, instead of writing it
//	type=T       its CQL type; default: by the Go type, as docs/connectors/cassandra.md lists
//	-            alone: no column
//
// Fields of embedded structs are columns as if they stood in T. A nil pointer,
// slice or map and a zero time.Time write null, which deletes the column's value.
// A field of another struct type is a user-defined type, named type=NAME or as
// the Go type in snake case.
//
// Make one by TableOf. It is immutable.
type Table[T any] struct{ t *table }

// TableSpec is a Table of any T.
type TableSpec interface{ table() *table }

func (t *Table[T]) table() *table { return t.t }

// TableOption changes a table.
type TableOption func(*table)

// TableOf describes the table name (without keyspace) by the struct T. What is
// wrong with T is reported by Config.Validate and Sink.Open.
func TableOf[T any](name string, opts ...TableOption) *Table[T] {
	t := &table{name: name, row: reflect.TypeFor[T]()}
	t.readStruct()
	for _, opt := range opts {
		opt(t)
	}
	return &Table[T]{t}
}

// TTL makes every upsert of the table expire so long after it is written, in
// whole seconds. It goes by Cassandra's clock from the moment of writing, so a
// repetition prolongs it.
func TTL(d time.Duration) TableOption {
	return func(t *table) {
		if err := checkTTL(d); err != nil {
			t.problems = append(t.problems, err)
		}
		t.ttl = d
	}
}

// With is appended to the table that Create makes, as CQL's WITH has it:
// "compaction = {'class': 'UnifiedCompactionStrategy'} AND gc_grace_seconds = 3600".
func With(options string) TableOption {
	return func(t *table) { t.with = options }
}

// maxTTL is Cassandra's: 20 years.
const maxTTL = 630720000 * time.Second

func checkTTL(d time.Duration) error {
	if d%time.Second != 0 || d < time.Second || d > maxTTL {
		return fmt.Errorf("TTL %v: expected whole seconds, 1 s to 20 years", d)
	}
	return nil
}

// table is what a struct type says of a table.
//
// Invariant: columns are in CQL's order: partition key, clustering columns, others.
type table struct {
	name     string
	row      reflect.Type
	columns  []column
	keys     int // partition key columns
	primary  int // keys and clustering columns
	ttl      time.Duration
	with     string
	problems []error
}

type columnKind uint8

const (
	partitionKey columnKind = iota
	clustering
	regular
	static
)

func (k columnKind) String() string {
	return [...]string{"partition_key", "clustering", "regular", "static"}[k]
}

// column is one field of a row's struct.
type column struct {
	name      string
	field     []int // reflect's index path
	goType    reflect.Type
	typ       cqlType // declared by the tag, or derived from the Go type
	declared  bool
	kind      columnKind
	desc      bool
	omitEmpty bool
}

func (t *table) problem(format string, args ...any) {
	t.problems = append(t.problems, fmt.Errorf(format, args...))
}

func (t *table) readStruct() {
	if t.name == "" || len(t.name) > 48 {
		t.problem("its name has %d characters, expected 1 to 48", len(t.name))
	}
	if t.row.Kind() != reflect.Struct {
		t.problem("rows are of type %v, expected a struct", t.row)
		return
	}
	if of := holdsItself(t.row, nil); of != nil {
		t.problem("%v holds itself, and a CQL type cannot", of)
		return
	}
	t.readFields(t.row, nil)
	slices.SortStableFunc(t.columns, func(a, b column) int { return int(min(a.kind, regular)) - int(min(b.kind, regular)) })
	seen := map[string]bool{}
	for _, c := range t.columns {
		switch c.kind {
		case partitionKey:
			t.keys++
			t.primary++
		case clustering:
			t.primary++
		}
		if seen[c.name] {
			t.problem("column %s is named by two fields of %v", c.name, t.row)
		}
		seen[c.name] = true
	}
	if t.keys == 0 {
		t.problem("no field of %v is a key: mark the partition key as `cql:\"name,key\"`", t.row)
	}
}

func (t *table) readFields(of reflect.Type, path []int) {
	for i := range of.NumField() {
		f := of.Field(i)
		tag, tagged := f.Tag.Lookup("cql")
		if tag == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		at := append(slices.Clone(path), i)
		if f.Anonymous && !tagged && f.Type.Kind() == reflect.Struct {
			t.readFields(f.Type, at)
			continue
		}
		if !f.IsExported() {
			continue
		}
		c, err := readField(f, tag)
		if err != nil {
			t.problem("field %s of %v: %w", f.Name, of, err)
			continue
		}
		c.field = at
		t.columns = append(t.columns, c)
	}
}

// holdsItself finds a type that is a part of itself.
func holdsItself(t reflect.Type, within []reflect.Type) reflect.Type {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return holdsItself(t.Elem(), within)
	case reflect.Map:
		if of := holdsItself(t.Key(), within); of != nil {
			return of
		}
		return holdsItself(t.Elem(), within)
	case reflect.Struct:
		if _, special := typesOfStructs[t]; special || marshals(t) {
			return nil
		}
		if slices.Contains(within, t) {
			return t
		}
		within = append(slices.Clone(within), t)
		for f := range t.Fields() {
			if f.Tag.Get("cql") == "-" || !f.IsExported() && !f.Anonymous {
				continue
			}
			if of := holdsItself(f.Type, within); of != nil {
				return of
			}
		}
	}
	return nil
}

// readField reads a field's tag.
func readField(f reflect.StructField, tag string) (column, error) {
	options := splitTop(tag)
	c := column{name: options[0], goType: f.Type, kind: regular}
	if c.name == "" {
		c.name = snake(f.Name)
	}
	var err error
	for _, o := range options[1:] {
		switch o {
		case "key":
			c.kind = partitionKey
		case "cluster":
			c.kind = clustering
		case "static":
			c.kind = static
		case "desc":
			c.desc = true
		case "omitempty":
			c.omitEmpty = true
		default:
			text, ok := strings.CutPrefix(o, "type=")
			if !ok {
				return c, fmt.Errorf("option %q in its tag, expected key, cluster, desc, static, omitempty or type=T", o)
			}
			if c.typ, err = parseType(text); err != nil {
				return c, err
			}
			c.declared = true
		}
	}
	if !c.declared {
		if c.typ, err = derive(f.Type); err != nil {
			return c, err
		}
	}
	switch {
	case c.desc && c.kind != clustering:
		return c, fmt.Errorf("desc is for clustering columns")
	case c.omitEmpty && c.kind < regular:
		return c, fmt.Errorf("omitempty cannot stand at a key column")
	case c.typ.name == "counter":
		return c, fmt.Errorf("type counter: %s", whyNoCounters)
	}
	return c, c.typ.takes(f.Type)
}

const whyNoCounters = "adding to a counter twice counts twice, and delivery is at least once; count in the stream and write the sum to a bigint column"

// splitTop splits at commas that are not within <>.
func splitTop(s string) []string {
	var parts []string
	depth, from := 0, 0
	for i := range len(s) {
		switch s[i] {
		case '<':
			depth++
		case '>':
			depth--
		case ',':
			if depth == 0 {
				parts = append(parts, strings.TrimSpace(s[from:i]))
				from = i + 1
			}
		}
	}
	return append(parts, strings.TrimSpace(s[from:]))
}

// snake is DailySales -> daily_sales, UserID -> user_id, HTTPPort -> http_port.
func snake(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		if unicode.IsUpper(r) && i > 0 && (!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) && runes[i-1] != '_' {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
