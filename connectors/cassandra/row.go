package cassandra

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/streams/serde"
)

// Row is one change of one row: an upsert or a delete. Table.Upsert and
// Table.Delete make it.
type Row struct {
	table  *table
	value  reflect.Value // of the table's struct type, addressable
	delete bool
	ttl    time.Duration // 0: the table's
}

// Upsert writes every column of row (see omitempty).
func (t *Table[T]) Upsert(row T) Row {
	return Row{table: t.t, value: reflect.ValueOf(&row).Elem()}
}

// Delete deletes the row with the primary key of row, whatever else is in it. If
// one record deletes a row and then upserts it, what was in the row before is
// gone and what is upserted stays.
func (t *Table[T]) Delete(row T) Row {
	return Row{table: t.t, value: reflect.ValueOf(&row).Elem(), delete: true}
}

// TTL makes an upsert expire so long after it is written, in whole seconds,
// instead of what the table says.
func (r Row) TTL(d time.Duration) Row {
	r.ttl = d
	return r
}

// Rows makes the rows of a record and appends them to dst; none is fine. An error
// makes the record a dead letter. It must not keep r, and need not copy what it
// takes from it: rows are encoded before the next record. One goroutine calls it.
type Rows func(dst []Row, r *connectors.Record) ([]Row, error)

// ErrNullValue: a record without a value where FromValue needs one.
var ErrNullValue = errors.New("null value")

// FromValue upserts the record's value. values decodes it; nil: T's own serde,
// JSON for most. A null value is a dead letter, as it says nothing of the row's
// key: FromKeyValue deletes.
func FromValue[T any](t *Table[T], values serde.Serde[T]) Rows {
	values, err := resolved(values)
	return func(dst []Row, r *connectors.Record) ([]Row, error) {
		if err != nil {
			return dst, err
		}
		if r.Value == nil {
			return dst, fmt.Errorf("%w: table %s takes its key from the value; use FromKeyValue to delete", ErrNullValue, t.t.name)
		}
		row, err := values.Decode(r.Value)
		if err != nil {
			return dst, fmt.Errorf("value: %w", err)
		}
		return append(dst, t.Upsert(row)), nil
	}
}

// FromKeyValue upserts what row makes of the record's key and value; where the
// value is null it deletes the row with the primary key of row(key, zero value).
// keys and values decode; nil: the serde that belongs to the type.
func FromKeyValue[K, V, T any](t *Table[T], keys serde.Serde[K], values serde.Serde[V], row func(K, V) T) Rows {
	keys, noKeys := resolved(keys)
	values, noValues := resolved(values)
	missing := errors.Join(noKeys, noValues)
	return func(dst []Row, r *connectors.Record) ([]Row, error) {
		if missing != nil {
			return dst, missing
		}
		var k K
		var v V
		var err error
		if r.Key == nil {
			return dst, fmt.Errorf("null key: table %s takes its key from it", t.t.name)
		}
		if k, err = keys.Decode(r.Key); err != nil {
			return dst, fmt.Errorf("key: %w", err)
		}
		if r.Value == nil {
			return append(dst, t.Delete(row(k, v))), nil
		}
		if v, err = values.Decode(r.Value); err != nil {
			return dst, fmt.Errorf("value: %w", err)
		}
		return append(dst, t.Upsert(row(k, v))), nil
	}
}

func resolved[T any](s serde.Serde[T]) (serde.Serde[T], error) {
	if s != nil {
		return s, nil
	}
	return serde.For[T](nil)
}
