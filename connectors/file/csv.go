package file

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
)

// CSVConfig says what rows look like. The zero value of a field is its default.
type CSVConfig struct {
	// Columns are what Row gets, in this order. The header must name them all, in
	// any order; others are passed over. Default: all columns of the header.
	Columns []string
	Comma   rune // an ASCII character; default ','
	// Row makes records of one row. Its error makes the row a dead letter. fields
	// is valid until Row returns, the strings in it for good. Default: the value is
	// a JSON object of strings, column by column, without key and event time.
	Row func(fields []string, out *connectors.Batch) error
}

// CSV is a Parser of comma-separated values (RFC 4180) whose first row is a
// header. Empty lines are passed over. A row is fields separated by commas up to
// the end of a line; a field is either without any quote, or wholly in quotes
// with those inside doubled. A line at which no such row begins, or one with
// another number of fields than the header, is a dead letter; reading goes on
// with the next line.
type CSV struct {
	cfg    CSVConfig
	names  []string // of the columns that Row gets
	header []byte   // the header's line; nil: not yet
	fields int      // in the header
	pick   []int    // where the columns are; nil: all
	bad    error

	feed   feeder
	reader *csv.Reader
	picked []string
}

var (
	_ Parser   = (*CSV)(nil)
	_ Splitter = (*CSV)(nil)
	_ Beginner = (*CSV)(nil)
	_ Checker  = (*CSV)(nil)
)

// NewCSV makes a parser.
func NewCSV(cfg CSVConfig) *CSV {
	if cfg.Comma == 0 {
		cfg.Comma = ','
	}
	c := &CSV{cfg: cfg}
	if c.cfg.Row == nil {
		c.cfg.Row = c.object
	}
	c.reader = csv.NewReader(&c.feed)
	c.reader.Comma, c.reader.FieldsPerRecord, c.reader.ReuseRecord = cfg.Comma, -1, true
	return c
}

// feeder gives the csv.Reader one record at a time.
type feeder struct{ rest []byte }

func (f *feeder) Read(p []byte) (int, error) {
	if len(f.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// Begin forgets the header: a new file has its own.
func (c *CSV) Begin() { c.header, c.bad = nil, nil }

// Check is the error of the header.
func (c *CSV) Check() error { return c.bad }

// State is the header's line.
func (c *CSV) State() []byte { return c.header }

// Restore takes the header's line back.
func (c *CSV) Restore(state []byte) error {
	c.Begin()
	if len(state) == 0 {
		return nil
	}
	c.begin(state)
	return c.bad
}

// parse takes the fields of a record apart.
func (c *CSV) parse(line []byte) ([]string, error) {
	c.feed.rest = line
	fields, err := c.reader.Read()
	if err == nil && len(c.feed.rest) == 0 {
		return fields, nil
	}
	for { // what the reader has of the record in its buffer
		if _, more := c.reader.Read(); more == io.EOF {
			break
		}
	}
	if pe, ok := errors.AsType[*csv.ParseError](err); ok {
		return nil, pe.Err
	}
	return nil, errors.New("not a single row")
}

// begin takes the header.
func (c *CSV) begin(line []byte) {
	c.header = append([]byte(nil), line...)
	fields, err := c.parse(line)
	if err != nil {
		c.bad = fmt.Errorf("%w: %w", ErrHeader, err)
		return
	}
	names := slices.Clone(fields)
	c.fields, c.pick, c.names = len(names), nil, names
	if c.cfg.Columns == nil {
		return
	}
	c.names = c.cfg.Columns
	var missing []string
	for _, want := range c.cfg.Columns {
		i := slices.Index(names, want)
		if i < 0 {
			missing = append(missing, want)
		}
		c.pick = append(c.pick, i)
	}
	if missing != nil {
		c.bad = fmt.Errorf("%w: it has %s, without %s", ErrHeader, strings.Join(names, ","), strings.Join(missing, ","))
	}
}

// Line takes one record.
func (c *CSV) Line(line []byte, out *connectors.Batch) {
	line = bytes.TrimRight(line, "\r") // as encoding/csv would
	switch {
	case c.bad != nil || len(line) == 0:
		return
	case c.header == nil:
		c.begin(line)
		return
	}
	fields, err := c.parse(line)
	if err == nil && len(fields) != c.fields {
		err = fmt.Errorf("%d fields, the header has %d", len(fields), c.fields)
	}
	if err == nil {
		if c.pick != nil {
			c.picked = c.picked[:0]
			for _, i := range c.pick {
				c.picked = append(c.picked, fields[i])
			}
			fields = c.picked
		}
		err = c.cfg.Row(fields, out)
	}
	if err != nil {
		aside(line, err, out)
	}
}

// aside makes a line a dead letter; the source adds where it stood.
func aside(line []byte, reason error, out *connectors.Batch) {
	out.Add(connectors.Out{Value: line, Timestamp: record.NoTimestamp, Partition: -1, DeadLetter: reason.Error()})
}

// object is the default of Row.
func (c *CSV) object(fields []string, out *connectors.Batch) error {
	b := []byte{'{'}
	for i, name := range c.names {
		if i > 0 {
			b = append(b, ',')
		}
		k, err := json.Marshal(name)
		if err != nil {
			return err
		}
		v, err := json.Marshal(fields[i])
		if err != nil {
			return err
		}
		b = append(append(append(b, k...), ':'), v...)
	}
	out.Add(connectors.Out{Value: append(b, '}'), Timestamp: record.NoTimestamp, Partition: -1})
	return nil
}

// Reasons of rows that are none.
var (
	errBareQuote = errors.New("a quote in a field that does not begin with one")
	errAfter     = errors.New("text after the closing quote of a field")
	errUnclosed  = errors.New("a quote is not closed")
)

// Split finds the end of a record.
func (c *CSV) Split(data []byte, end bool) (length, take int, bad error) {
	nl := bytes.IndexByte(data, '\n')
	if nl < 0 && !end {
		return 0, 0, nil
	}
	line := data
	if nl >= 0 {
		line = data[:nl]
	}
	if bytes.IndexByte(line, '"') < 0 {
		return len(line), min(len(line)+1, len(data)), nil
	}
	at, err := c.rowEnd(data, end)
	switch {
	case err != nil: // only the first line is wrong: what follows may be rows
		return len(line), min(len(line)+1, len(data)), err
	case at < 0:
		return 0, 0, nil
	}
	return at, min(at+1, len(data)), nil
}

// rowEnd is where the row's last line ends; -1: more data is needed.
func (c *CSV) rowEnd(data []byte, end bool) (at int, bad error) {
	comma := byte(c.cfg.Comma)
	for i := 0; i < len(data); i++ { // i is where a field begins
		if data[i] == '"' {
			n := closing(data[i+1:])
			if n < 0 {
				return more(end, errUnclosed)
			}
			i += n + 2
		} else {
			n := bytes.IndexAny(data[i:], string([]byte{comma, '\n', '"'}))
			if n < 0 {
				return more(end, nil, len(data))
			}
			i += n
		}
		rest := data[i:]
		switch {
		case len(rest) == 0 || len(rest) == 1 && rest[0] == '\r':
			return more(end, nil, len(data))
		case rest[0] == '\n':
			return i, nil
		case rest[0] == '\r' && rest[1] == '\n':
			return i + 1, nil
		case rest[0] == comma:
		case rest[0] == '"' && (i == 0 || data[i-1] != '"'):
			return 0, errBareQuote
		default:
			return 0, errAfter
		}
	}
	return more(end, nil, len(data)) // after a comma at the end
}

// more is the answer where data ended: ask for more, or be content with it.
func more(end bool, bad error, at ...int) (int, error) {
	switch {
	case !end:
		return -1, nil
	case bad != nil:
		return 0, bad
	}
	return at[0], nil
}

// closing is the index of the quote that closes a field.
func closing(b []byte) int {
	for i := 0; ; i++ {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return -1
		}
		i += n
		if i+1 == len(b) || b[i+1] != '"' {
			return i
		}
		i++
	}
}
