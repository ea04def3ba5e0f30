package file

import (
	"bytes"
	"encoding/csv"
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"slices"

	"github.com/millstream-io/millstream/connectors"
)

// Format is how records look in a file. One goroutine uses it.
type Format interface {
	// Begin appends what every file begins with.
	Begin(dst []byte) []byte
	// Append appends a record, line end included. Its error makes the record a dead
	// letter. It must not keep r.
	Append(dst []byte, r *connectors.Record) ([]byte, error)
}

// Reasons of dead letters of a Sink.
var (
	ErrNull    = errors.New("a null value has no line")
	ErrNewline = errors.New("the value holds a newline, and would be two lines")
	ErrNotJSON = errors.New("the value is not JSON")
)

// Values is the Format of lines: each value is one.
type Values struct{}

// Begin appends nothing.
func (Values) Begin(dst []byte) []byte { return dst }

// Append appends the value.
func (Values) Append(dst []byte, r *connectors.Record) ([]byte, error) {
	switch {
	case r.Value == nil:
		return dst, ErrNull
	case bytes.IndexByte(r.Value, '\n') >= 0:
		return dst, ErrNewline
	}
	return append(append(dst, r.Value...), '\n'), nil
}

// JSONValues is the Format of JSON lines: each value is one, in one line whatever
// white space it has.
type JSONValues struct{}

// Begin appends nothing.
func (JSONValues) Begin(dst []byte) []byte { return dst }

// Append appends the value, compact.
func (JSONValues) Append(dst []byte, r *connectors.Record) ([]byte, error) {
	if r.Value == nil {
		return dst, ErrNull
	}
	v := jsontext.Value(slices.Clone(r.Value))
	if v.Compact() != nil {
		return dst, ErrNotJSON
	}
	return append(append(dst, v...), '\n'), nil
}

// CSVValues returns the Format of CSV with a header in every file; fields makes a
// record's row.
func CSVValues(header []string, fields func(r *connectors.Record) ([]string, error)) Format {
	f := &csvValues{header: header, fields: fields}
	f.w = csv.NewWriter(&f.buf)
	return f
}

type csvValues struct {
	header []string
	fields func(r *connectors.Record) ([]string, error)
	buf    bytes.Buffer
	w      *csv.Writer
}

func (f *csvValues) Begin(dst []byte) []byte {
	dst, err := f.row(dst, f.header)
	if err != nil { // a buffer takes everything
		panic(err)
	}
	return dst
}

func (f *csvValues) Append(dst []byte, r *connectors.Record) ([]byte, error) {
	fields, err := f.fields(r)
	if err != nil {
		return dst, err
	}
	if len(fields) != len(f.header) {
		return dst, fmt.Errorf("%d fields, the header has %d", len(fields), len(f.header))
	}
	return f.row(dst, fields)
}

func (f *csvValues) row(dst []byte, fields []string) ([]byte, error) {
	f.buf.Reset()
	if err := f.w.Write(fields); err != nil {
		return dst, err
	}
	f.w.Flush()
	return append(dst, f.buf.Bytes()...), f.w.Error()
}
