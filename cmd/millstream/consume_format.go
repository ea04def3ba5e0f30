package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
)

// format appends one record in the form that -f asks for.
type format []func([]byte, *kgo.Record) []byte

// formatHelp is kcat's language.
const formatHelp = `%s value  %S its length or -1   %k key    %K its length or -1
%t topic  %p partition              %o offset %T milliseconds since 1970
%D time   %h headers NAME=VALUE,... %R value's length as 4 bytes, big endian
%% percent sign; \n \t \r \\ \0 and \xHH as in C`

// parseFormat reads kcat's language of -f.
func parseFormat(text string) (format, error) {
	var f format
	var literal []byte
	flush := func() {
		if len(literal) > 0 {
			l := literal
			f = append(f, func(b []byte, _ *kgo.Record) []byte { return append(b, l...) })
			literal = nil
		}
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			b, n, err := unescape(text[i:])
			if err != nil {
				return nil, err
			}
			literal = append(literal, b)
			i += n - 1
		case c != '%':
			literal = append(literal, c)
		case i+1 == len(text):
			return nil, fmt.Errorf("%q ends with %%: write %%%% for a percent sign", text)
		case text[i+1] == '%':
			literal = append(literal, '%')
			i++
		default:
			i++
			verb, ok := formatVerbs[text[i]]
			if !ok {
				return nil, fmt.Errorf("%q: unknown %%%c: known are %%s %%S %%k %%K %%t %%p %%o %%T %%D %%h %%R and %%%%", text, text[i])
			}
			flush()
			f = append(f, verb)
		}
	}
	flush()
	return f, nil
}

// unescape reads one escape at the start of text and says how long it is.
func unescape(text string) (b byte, n int, err error) {
	if len(text) < 2 {
		return 0, 0, fmt.Errorf("the format ends with a backslash: write \\\\ for one")
	}
	switch text[1] {
	case 'n':
		return '\n', 2, nil
	case 't':
		return '\t', 2, nil
	case 'r':
		return '\r', 2, nil
	case '0':
		return 0, 2, nil
	case '\\':
		return '\\', 2, nil
	case 'x':
		if len(text) >= 4 {
			if v, err := strconv.ParseUint(text[2:4], 16, 8); err == nil {
				return byte(v), 4, nil
			}
		}
		return 0, 0, fmt.Errorf("%q: expected two hexadecimal digits after \\x", text[:min(len(text), 4)])
	}
	return 0, 0, fmt.Errorf("unknown escape \\%c: known are \\n \\t \\r \\0 \\xHH \\\\", text[1])
}

var formatVerbs = map[byte]func([]byte, *kgo.Record) []byte{
	's': func(b []byte, r *kgo.Record) []byte { return append(b, r.Value...) },
	'S': func(b []byte, r *kgo.Record) []byte { return strconv.AppendInt(b, lengthOf(r.Value), 10) },
	'k': func(b []byte, r *kgo.Record) []byte { return append(b, r.Key...) },
	'K': func(b []byte, r *kgo.Record) []byte { return strconv.AppendInt(b, lengthOf(r.Key), 10) },
	't': func(b []byte, r *kgo.Record) []byte { return append(b, r.Topic...) },
	'p': func(b []byte, r *kgo.Record) []byte { return strconv.AppendInt(b, int64(r.Partition), 10) },
	'o': func(b []byte, r *kgo.Record) []byte { return strconv.AppendInt(b, r.Offset, 10) },
	'T': func(b []byte, r *kgo.Record) []byte { return strconv.AppendInt(b, r.Timestamp.UnixMilli(), 10) },
	'D': func(b []byte, r *kgo.Record) []byte {
		return r.Timestamp.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
	},
	'R': func(b []byte, r *kgo.Record) []byte {
		return binary.BigEndian.AppendUint32(b, uint32(int32(lengthOf(r.Value))))
	},
	'h': func(b []byte, r *kgo.Record) []byte {
		for i, h := range r.Headers {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(append(b, h.Key...), '=')
			b = append(b, h.Value...)
		}
		return b
	},
}

// lengthOf is -1 for null.
func lengthOf(b []byte) int64 {
	if b == nil {
		return -1
	}
	return int64(len(b))
}

func (f format) append(b []byte, r *kgo.Record) []byte {
	for _, piece := range f {
		b = piece(b, r)
	}
	return b
}

// jsonRecord is a line of `consume -o json`, which `produce --input json` reads.
// What is no text in UTF-8 stands as base64.
type jsonRecord struct {
	Topic       string       `json:"topic,omitempty"`
	Partition   *int32       `json:"partition,omitempty"`
	Offset      *int64       `json:"offset,omitempty"`
	Time        *time.Time   `json:"time,omitempty"`
	Key         *string      `json:"key,omitempty"`
	KeyBase64   string       `json:"key_base64,omitempty"`
	Value       *string      `json:"value,omitempty"`
	ValueBase64 string       `json:"value_base64,omitempty"`
	Headers     []jsonHeader `json:"headers,omitempty"`
}

type jsonHeader struct {
	Name        string  `json:"name"`
	Value       *string `json:"value,omitempty"`
	ValueBase64 string  `json:"value_base64,omitempty"`
}

// textOrBase64 gives bytes in the one form or the other; null is neither.
func textOrBase64(b []byte) (text *string, b64 string) {
	switch {
	case b == nil:
		return nil, ""
	case utf8.Valid(b):
		s := string(b)
		return &s, ""
	}
	return nil, base64.StdEncoding.EncodeToString(b)
}

// bytesOf is the reverse of textOrBase64.
func bytesOf(what string, text *string, b64 string) ([]byte, error) {
	switch {
	case text != nil && b64 != "":
		return nil, fmt.Errorf("there are both %s and %s_base64: give one", what, what)
	case text != nil:
		return []byte(*text), nil
	case b64 == "":
		return nil, nil
	}
	b, err := base64.StdEncoding.DecodeString(b64)
	if err != nil {
		return nil, fmt.Errorf("%s_base64: %w", what, err)
	}
	return b, nil
}

func appendJSON(b []byte, r *kgo.Record) []byte {
	at := r.Timestamp.UTC()
	j := jsonRecord{Topic: r.Topic, Partition: &r.Partition, Offset: &r.Offset, Time: &at}
	j.Key, j.KeyBase64 = textOrBase64(r.Key)
	j.Value, j.ValueBase64 = textOrBase64(r.Value)
	for _, h := range r.Headers {
		jh := jsonHeader{Name: strings.ToValidUTF8(h.Key, "\uFFFD")}
		jh.Value, jh.ValueBase64 = textOrBase64(h.Value)
		j.Headers = append(j.Headers, jh)
	}
	line, _ := json.Marshal(j) // nothing in it can fail
	return append(append(b, line...), '\n')
}

// record is the record that a line of JSON describes.
func (j *jsonRecord) record() (*kgo.Record, error) {
	r := &kgo.Record{Topic: j.Topic}
	var err error
	if r.Key, err = bytesOf("key", j.Key, j.KeyBase64); err != nil {
		return nil, err
	}
	if r.Value, err = bytesOf("value", j.Value, j.ValueBase64); err != nil {
		return nil, err
	}
	for _, h := range j.Headers {
		v, err := bytesOf("value", h.Value, h.ValueBase64)
		if err != nil {
			return nil, fmt.Errorf("header %s: %w", h.Name, err)
		}
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Name, Value: v})
	}
	if j.Time != nil {
		r.Timestamp = *j.Time
	}
	return r, nil
}
