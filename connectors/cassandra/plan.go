package cassandra

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
)

// plan is how rows of one table are written, after the table was checked.
//
// Invariant: encoders are parallel to table.columns.
type plan struct {
	table    *table
	index    int    // in Config.Tables
	full     string // keyspace.table, as CQL has it
	encoders []encoder
	types    []cqlType // of the table's columns, parallel to encoders
	covers   bool      // the struct has every column of the table (but static ones)
	statics  bool      // the struct has a static column

	insert, insertTTL, deleteRow string
}

func (p *plan) prepare() {
	var names, marks, where []string
	for i, c := range p.table.columns {
		names, marks = append(names, quoted(c.name)), append(marks, "?")
		p.statics = p.statics || c.kind == static
		if i < p.table.primary {
			where = append(where, quoted(c.name)+" = ?")
		}
	}
	p.insert = fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s) USING TIMESTAMP ?", p.full, strings.Join(names, ", "), strings.Join(marks, ", "))
	p.insertTTL = p.insert + " AND TTL ?"
	p.deleteRow = fmt.Sprintf("DELETE FROM %s USING TIMESTAMP ? WHERE %s", p.full, strings.Join(where, " AND "))
}

// sameAs reports whether what was encoded for p fits o, which may be nil.
func (p *plan) sameAs(o *plan) bool {
	return o != nil && slices.EqualFunc(p.types, o.types, cqlType.same)
}

// cell is an encoded value as it is bound: nil is null, unset leaves the column
// as it is. *cell is a gocql.Marshaler, so that the driver takes the bytes.
type cell struct {
	b     []byte
	unset bool
}

// MarshalCQL gives the encoded value.
func (c *cell) MarshalCQL(gocql.TypeInfo) ([]byte, error) { return c.b, nil }

// bound is what the driver gets for a cell.
func (c *cell) bound() any {
	if c.unset {
		return gocql.UnsetValue
	}
	return c
}

// op is one statement to come: the upsert or delete of one row.
//
// Invariant: victims are earlier changes of the same row that need not be sent
// because this one is; if it is refused, they are sent after all.
type op struct {
	plan   *plan
	record int // index into the records of the Write
	delete bool
	full   bool   // an upsert that sets every column of the struct
	key    []byte // table and primary key, as a key of maps
	prefix int    // of key: table and partition key
	cells  []cell // parallel to the table's columns; of a delete the primary key's
	ts     int64  // write timestamp, microseconds
	ttl    time.Duration
	size   int // bytes

	dropped bool // left out: a victim of another

	prev    *op   // the one before of the same row that is to be sent
	victims []*op // see above
	err     error // of its request
}

// errNullKey: a key column without a value.
var errNullKey = errors.New("null, and it is part of the primary key")

const maxKeyBytes = 65535

// encode encodes a row. The error is an ErrRow that names the column.
func (p *plan) encode(m *memory, row Row, o *op) error {
	t := p.table
	n := len(t.columns)
	if row.delete {
		n = t.primary
	}
	*o = op{plan: p, delete: row.delete, full: !row.delete, cells: m.cells.take(n), ttl: row.ttl}
	if o.ttl == 0 {
		o.ttl = t.ttl
	}
	if row.ttl != 0 {
		if err := checkTTL(row.ttl); err != nil {
			return fmt.Errorf("%w: table %s: %w", ErrRow, p.full, err)
		}
	}
	for i := range n {
		c := &t.columns[i]
		v := row.value.FieldByIndex(c.field)
		if c.omitEmpty && v.IsZero() {
			o.cells[i].unset, o.full = true, false
			continue
		}
		var err error
		m.scratch, err = encodeCell(p.encoders[i], m.scratch[:0], v)
		switch {
		case errors.Is(err, errNull) && i < t.primary:
			return fmt.Errorf("%w: table %s, column %s: %w", ErrRow, p.full, c.name, errNullKey)
		case errors.Is(err, errNull):
			continue
		case err == nil && i < t.primary && len(m.scratch) > maxKeyBytes:
			err = fmt.Errorf("%d bytes, a key has %d at most", len(m.scratch), maxKeyBytes)
		case err == nil && t.keys == 1 && i == 0 && len(m.scratch) == 0:
			err = errors.New("empty, and it is the whole partition key")
		}
		if err != nil {
			return fmt.Errorf("%w: table %s, column %s: %w", ErrRow, p.full, c.name, err)
		}
		b := m.bytes.take(len(m.scratch))
		copy(b, m.scratch)
		o.cells[i].b = b
		o.size += len(b)
	}
	p.encodeKey(m, o)
	return nil
}

// encodeCell keeps a panicking Marshaler of the program away from the engine.
func encodeCell(e encoder, dst []byte, v reflect.Value) (out []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			out, err = dst, fmt.Errorf("panic while it was encoded: %v", r)
		}
	}()
	return e(dst, v)
}

func (p *plan) encodeKey(m *memory, o *op) {
	k := binary.AppendUvarint(m.scratch[:0], uint64(p.index))
	for i := range p.table.primary {
		k = binary.AppendUvarint(k, uint64(len(o.cells[i].b)))
		k = append(k, o.cells[i].b...)
		if i == p.table.keys-1 {
			o.prefix = len(k)
		}
	}
	m.scratch = k
	o.key = m.bytes.take(len(k))
	copy(o.key, k)
}

// routingKey is the partition key as the partitioner hashes it.
func (o *op) routingKey() []byte {
	if o.plan.table.keys == 1 {
		return o.cells[0].b
	}
	var k []byte
	for i := range o.plan.table.keys {
		b := o.cells[i].b
		k = binary.BigEndian.AppendUint16(k, uint16(len(b)))
		k = append(append(k, b...), 0)
	}
	return k
}

// statement is the op with its values, in the order of the statement's marks.
func (o *op) statement(m *memory) statement {
	extra := 1
	if o.ttl > 0 && !o.delete {
		extra = 2
	}
	values := m.values.take(len(o.cells) + extra)
	tail := m.cells.take(extra)
	tail[0].b = m.bytes.take(8)
	binary.BigEndian.PutUint64(tail[0].b, uint64(o.ts))
	if o.delete {
		values[0] = &tail[0]
		for i := range o.cells {
			values[i+1] = &o.cells[i]
		}
		return statement{o.plan.deleteRow, values}
	}
	for i := range o.cells {
		values[i] = o.cells[i].bound()
	}
	values[len(o.cells)] = &tail[0]
	if extra == 1 {
		return statement{o.plan.insert, values}
	}
	tail[1].b = m.bytes.take(4)
	binary.BigEndian.PutUint32(tail[1].b, uint32(o.ttl/time.Second))
	values[len(o.cells)+1] = &tail[1]
	return statement{o.plan.insertTTL, values}
}

// memory is what one Write takes and the next one takes again.
type memory struct {
	bytes   slab[byte]
	cells   slab[cell]
	values  slab[any]
	stmts   slab[statement]
	ops     slab[op]
	scratch []byte
}

func (m *memory) reset() {
	m.bytes.reset()
	m.cells.reset()
	m.values.reset()
	m.stmts.reset()
	m.ops.reset()
}

// slab hands out zeroed slices that stay where they are until reset.
type slab[T any] struct {
	chunks [][]T
	chunk  int // in use
	used   int // of it
}

const slabLength = 8192

func (s *slab[T]) take(n int) []T {
	if n > slabLength {
		return make([]T, n)
	}
	if s.chunk < len(s.chunks) && s.used+n > slabLength {
		s.chunk, s.used = s.chunk+1, 0
	}
	if s.chunk == len(s.chunks) {
		s.chunks = append(s.chunks, make([]T, slabLength))
	}
	out := s.chunks[s.chunk][s.used : s.used+n : s.used+n]
	s.used += n
	return out
}

func (s *slab[T]) reset() {
	for i := 0; i <= s.chunk && i < len(s.chunks); i++ {
		clear(s.chunks[i])
	}
	s.chunk, s.used = 0, 0
}
