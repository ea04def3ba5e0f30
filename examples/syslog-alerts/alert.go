package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/connectors/console"
)

// Alert is a record of the alerts topic, as JSON. Times are UTC.
type Alert struct {
	Kind        string    `json:"kind"` // breach or final
	WindowStart time.Time `json:"window_start"`
	WindowEnd   time.Time `json:"window_end"`
	Key         string    `json:"key"`
	Count       int64     `json:"count"`
	Users       []string  `json:"users,omitempty"`     // the first ones
	Addresses   []string  `json:"addresses,omitempty"` // the first ones
}

// printer formats alerts for the console.
type printer struct {
	format func(dst []byte, a Alert) []byte
}

func newPrinter(c config) printer {
	if c.output == "json" {
		return printer{appendJSON}
	}
	return printer{func(dst []byte, a Alert) []byte { return appendText(dst, a, c) }}
}

// Format is the console sink's.
func (p printer) Format(dst []byte, r *connectors.Record) ([]byte, error) {
	var a Alert
	if err := json.Unmarshal(r.Value, &a); err != nil {
		return dst, fmt.Errorf("not an alert: %w", err)
	}
	return p.format(dst, a), nil
}

var _ console.Format = printer{}.Format

// appendJSON prints one object a line, for programs.
func appendJSON(dst []byte, a Alert) []byte {
	a.Users, a.Addresses = nil, nil
	buf := bytes.NewBuffer(dst)
	e := json.NewEncoder(buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(a); err != nil { // a struct of strings, numbers and times between the years 0 and 9999
		panic(err)
	}
	return buf.Bytes()
}

// appendText prints a line for people, times in the zone of -tz.
func appendText(dst []byte, a Alert, c config) []byte {
	stamp := time.DateTime
	if c.demo {
		stamp = time.TimeOnly
	}
	end := "in"
	if a.Kind == "breach" {
		end = "within" // the window goes on
	}
	dst = fmt.Appendf(dst, "%s  %-15s %4d x %q %s %s", a.WindowStart.In(c.tz).Format(stamp), printable(a.Key), a.Count, c.match, end, c.window)
	if len(a.Users) > 0 {
		dst = fmt.Appendf(dst, "  users %s", names(a.Users))
	}
	if len(a.Addresses) > 0 && c.by != "source" {
		dst = fmt.Appendf(dst, "  from %s", names(a.Addresses))
	}
	return append(dst, '\n')
}

func names(list []string) string {
	s := strings.Join(list, ", ")
	if len(list) == maxNames {
		s += ", ..."
	}
	return printable(s)
}

// printable keeps what senders put into lines from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}
