package syslog

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
)

// ParserConfig says how lines are read. The zero value: UTC, FollowYear from
// the current year.
type ParserConfig struct {
	Years    YearRule
	Year     int            // of FixedYear; with FollowYear the year to begin with, 0: Now's
	Location *time.Location // of times without a zone; nil: UTC
	// Zones are names of time zones that lines may have, like "IST", with their
	// distance east of UTC. They go before those that this package knows. A name
	// that neither knows is Location's.
	Zones map[string]time.Duration
	Now   func() time.Time
}

// Parser reads lines. One goroutine at a time: FollowYear remembers the last line.
type Parser struct {
	years    years
	utc      calendar // of stamps without a year that name their zone
	zones    map[string]time.Duration
	lib      library
	noPrio   []record.Header
	position []byte
}

// Parsed is what the source needs to know of a line.
type Parsed struct {
	Host       []byte // nil if the line names none; borrowed from the line or the parser
	TimeMS     int64  // milliseconds since the Unix epoch; record.NoTimestamp if the line has none
	NoPriority bool
}

// NewParser makes a parser.
func NewParser(cfg ParserConfig) *Parser {
	p := &Parser{noPrio: []record.Header{{Key: HeaderNoPriority, Value: []byte{}}}}
	p.zones, p.utc.loc = cfg.Zones, time.UTC
	p.years.rule, p.years.year, p.years.cal.loc = cfg.Years, cfg.Year, cfg.Location
	if p.years.cal.loc == nil {
		p.years.cal.loc = time.UTC
	}
	if p.years.year == 0 {
		now := cfg.Now
		if now == nil {
			now = time.Now
		}
		p.years.year = now().In(p.years.cal.loc).Year()
	}
	return p
}

// TrimEnd takes the CR and LF off the end of a line.
func TrimEnd(line []byte) []byte {
	for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r') {
		line = line[:len(line)-1]
	}
	return line
}

// Parse reads a line without trailing newline. received is when it came, for NearestYear.
func (p *Parser) Parse(line []byte, received time.Time) (Parsed, error) {
	if l, ok := scan(line); ok && dayExists(line[l.stamp:]) && visible(line[l.text:]) {
		ms, err := p.years.resolve(&p.years.cal, line[l.stamp:l.stamp+stampLen], received)
		if err != nil {
			return Parsed{}, err
		}
		return Parsed{Host: line[l.hostFrom:l.hostTo:l.hostTo], TimeMS: ms, NoPriority: l.priority < 0}, nil
	}
	return p.parseSlow(line, received)
}

// dayExists is false for the days that no year has, like the 31st of April.
func dayExists(stamp []byte) bool {
	if stamp[4] < '3' && stamp[:1][0] != 'F' {
		return true
	}
	day := twoDigits(stamp[4], stamp[5])
	switch month(stamp) {
	case 2:
		return stamp[4] == ' ' || day <= 29
	case 4, 6, 9, 11:
		return day <= 30
	}
	return true
}

// parseSlow takes every other dialect, and finds out what is wrong with a line
// that is none.
func (p *Parser) parseSlow(line []byte, received time.Time) (out Parsed, err error) {
	if len(line) == 0 {
		return out, ErrEmptyLine
	}
	d, ok := dissect(line)
	if !ok {
		return out, p.lib.explain(line)
	}
	out.NoPriority, out.TimeMS = d.priority < 0, record.NoTimestamp
	if d.hostTo > d.hostFrom {
		out.Host = line[d.hostFrom:d.hostTo:d.hostTo]
	}
	if d.hasTime {
		out.TimeMS, err = p.timeOf(&d.when, received)
		if err == nil && out.TimeMS < 0 {
			err = fmt.Errorf("%w: %v", ErrBefore1970, d.when.time().Format(time.RFC3339))
		}
	}
	return out, err
}

// timeOf is a moment in milliseconds since the Unix epoch.
func (p *Parser) timeOf(m *moment, received time.Time) (int64, error) {
	if east, ok := p.zones[string(m.zone)]; ok && len(m.zone) > 0 {
		m.hasZone, m.east = true, int(east/time.Second)
	}
	if m.hasYear {
		return m.unixMS(p.years.cal.loc), nil
	}
	cal := &p.years.cal
	if m.hasZone {
		cal = &p.utc
	}
	stamp := m.stamp()
	ms, err := p.years.resolve(cal, stamp[:], received)
	return ms + int64(m.nanos/1_000_000) - int64(m.east)*1000, err
}

// Line parses one line of a file into a record, or a dead letter. It makes a
// Parser the line parser that the file source asks for.
func (p *Parser) Line(line []byte, out *connectors.Batch) {
	line = TrimEnd(line)
	parsed, err := p.Parse(line, time.Time{})
	if err == nil && parsed.TimeMS == record.NoTimestamp {
		err = ErrNoTime // "now" would push the time of every line before it
	}
	o := connectors.Out{Key: parsed.Host, Value: line, Timestamp: parsed.TimeMS, Partition: -1}
	switch {
	case err != nil:
		o.Key, o.Timestamp, o.DeadLetter = nil, record.NoTimestamp, err.Error()
	case parsed.NoPriority:
		o.Headers = p.noPrio
	}
	out.Add(o)
}

// State is what FollowYear remembers: the year (2 bytes big-endian) and the
// time of the last line (8 bytes, milliseconds), or nothing before the first.
// It is valid until the next call.
func (p *Parser) State() []byte {
	if !p.years.any {
		return nil
	}
	p.position = binary.BigEndian.AppendUint16(p.position[:0], uint16(p.years.year))
	p.position = binary.BigEndian.AppendUint64(p.position, uint64(p.years.lastMS))
	return p.position
}

// Restore takes back what State returned.
func (p *Parser) Restore(state []byte) error {
	switch len(state) {
	case 0:
		return nil
	case 10:
		p.years.year = int(binary.BigEndian.Uint16(state))
		p.years.lastMS = int64(binary.BigEndian.Uint64(state[2:]))
		p.years.any = true
		return nil
	}
	return fmt.Errorf("the year state of the syslog parser has %d bytes, expected 10", len(state))
}
