package webhook

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/millstream-io/millstream/connectors"
)

// Alert is a record as its template and its id see it. Nothing in it depends on
// when, or how often, it is posted.
type Alert struct {
	ID        string
	App       string // the application
	Sink      string // the connector's name
	Key       string // of the record
	Value     any    // of the record, decoded: numbers are json.Number, objects map[string]any
	Raw       string // the value as it stands, without spaces between its parts
	Topic     string
	Partition int32
	Offset    int64
	Timestamp string            // of the record, RFC 3339 in UTC with milliseconds
	Headers   map[string]string // of the record; the last one of a name
}

// timeFormat is RFC 3339 with milliseconds where there are any.
const timeFormat = "2006-01-02T15:04:05.999Z07:00"

// alert decodes a record.
func (s *Sink) alert(r *connectors.Record) (*Alert, error) {
	a := &Alert{
		App: s.context.App, Sink: s.context.Name, Key: strings.ToValidUTF8(string(r.Key), "\uFFFD"),
		Topic: r.Topic, Partition: int32(r.Partition), Offset: int64(r.Offset),
		Timestamp: time.UnixMilli(r.Timestamp).UTC().Format(timeFormat),
	}
	d := json.NewDecoder(bytes.NewReader(r.Value))
	d.UseNumber()
	if err := d.Decode(&a.Value); err != nil {
		return nil, fmt.Errorf("the value is not JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the value is not JSON: something follows its end")
	}
	var raw bytes.Buffer
	if err := json.Compact(&raw, r.Value); err != nil {
		return nil, fmt.Errorf("the value is not JSON: %w", err)
	}
	a.Raw = raw.String()
	if len(r.Headers) > 0 {
		a.Headers = make(map[string]string, len(r.Headers))
		for _, h := range r.Headers {
			a.Headers[h.Key] = strings.ToValidUTF8(string(h.Value), "\uFFFD")
		}
	}
	id, err := s.id(a)
	if err != nil {
		return nil, fmt.Errorf("id: %w", err)
	}
	if a.ID = safeID(id); a.ID == "" {
		return nil, errors.New("id: it is empty")
	}
	return a, nil
}

// id calls Config.ID, whose panic is the record's error: it runs on a goroutine
// of the sink.
func (s *Sink) id(a *Alert) (id string, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("Config.ID panicked: %v", v)
		}
	}()
	return s.cfg.ID(a)
}

// DefaultID names an alert by what it says: the member "id" of its value if
// there is one, else APP/KIND/KEY/WINDOW_START of the members kind, key and
// window_start. A value without all three is named by where its record stands:
// APP/TOPIC/PARTITION/OFFSET.
func DefaultID(a *Alert) (string, error) {
	if id := plain(get(a.Value, "id")); id != "" {
		return id, nil
	}
	kind, key, start := plain(get(a.Value, "kind")), plain(get(a.Value, "key")), plain(get(a.Value, "window_start"))
	if kind == "" || key == "" || start == "" {
		return fmt.Sprintf("%s/%s/%d/%d", a.App, a.Topic, a.Partition, a.Offset), nil
	}
	return strings.Join([]string{a.App, kind, key, start}, "/"), nil
}

// plain is a string or number of a JSON value as text; "" of anything else.
func plain(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}

// maxID bounds an id: servers bound the size of all headers together.
const maxID = 512

// safeID makes an id that a header can carry: spaces, control characters, '%'
// and what is not ASCII are written as in URLs; one that is too long ends with
// the SHA-256 of the whole.
func safeID(id string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c >= 0x7f || c == '%' {
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		} else {
			b.WriteByte(c)
		}
	}
	safe := b.String()
	if len(safe) <= maxID {
		return safe
	}
	sum := sha256.Sum256([]byte(id))
	return safe[:maxID-2*len(sum)-1] + "." + hex.EncodeToString(sum[:])
}

// get finds the member at a path of names and indexes with dots between them;
// nil if there is none.
func get(v any, path string) any {
	for name := range strings.SplitSeq(path, ".") {
		switch in := v.(type) {
		case map[string]any:
			v = in[name]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(in) {
				return nil
			}
			v = in[i]
		default:
			return nil
		}
	}
	return v
}
