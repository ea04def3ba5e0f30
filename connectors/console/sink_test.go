package console

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
)

func records(values ...string) (rs []connectors.Record) {
	for _, v := range values {
		rs = append(rs, connectors.Record{View: record.View{Value: []byte(v)}, Topic: "alerts"})
	}
	return rs
}

func TestWritePrintsAndFlushes(t *testing.T) {
	var out bytes.Buffer
	var written int
	s := New(Config{Writer: &out, Written: func(rs []connectors.Record) { written += len(rs) }})
	for _, rs := range [][]connectors.Record{records("a", "b"), nil, records("c")} {
		if err := s.Write(context.Background(), rs); err != nil {
			t.Fatal(err)
		}
	}
	if out.String() != "a\nb\nc\n" || written != 3 {
		t.Fatalf("printed %q, %d reported", out.String(), written)
	}
}

func TestManyRecordsStayInABoundedBuffer(t *testing.T) {
	var out bytes.Buffer
	s := New(Config{Writer: &out})
	line := strings.Repeat("x", 1000)
	rs := records()
	for range 1000 {
		rs = append(rs, records(line)...)
	}
	if err := s.Write(context.Background(), rs); err != nil {
		t.Fatal(err)
	}
	if out.Len() != 1001*1000 || cap(s.buf) > 4*flushBytes {
		t.Fatalf("%d bytes printed, buffer of %d", out.Len(), cap(s.buf))
	}
}

func TestARecordWithoutFormNamesItself(t *testing.T) {
	var out bytes.Buffer
	bad := errors.New("no alert")
	s := New(Config{Writer: &out, Format: func(dst []byte, r *connectors.Record) ([]byte, error) {
		if string(r.Value) == "bad" {
			return append(dst, "half of it"...), bad
		}
		return Values(dst, r)
	}})
	err := s.Write(context.Background(), records("a", "bad", "b"))
	var re *connectors.RecordError
	if !errors.As(err, &re) || re.Index != 1 || !errors.Is(err, bad) || out.String() != "a\n" {
		t.Fatalf("error %v, printed %q", err, out.String())
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestErrorsOfTheWriterAreReturned(t *testing.T) {
	closed := errors.New("broken pipe")
	s := New(Config{Writer: failing{closed}, Written: func([]connectors.Record) { t.Error("reported as written") }})
	if err := s.Write(context.Background(), records("a")); !errors.Is(err, closed) {
		t.Fatalf("error %v, want %v", err, closed)
	}
}
