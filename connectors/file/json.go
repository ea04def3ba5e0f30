package file

import (
	"bytes"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"reflect"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/log/record"
)

// JSONLines is a Parser of JSON values, one a line. Empty lines are passed over.
// A line that does not decode is a dead letter, as is one for which row returns
// an error. Names are exact, a name twice in an object and text that is not
// UTF-8 are errors (encoding/json/v2). With row nil a line becomes a value as it
// is, if it is JSON; line is borrowed, v is row's to keep.
func JSONLines[T any](row func(v T, line []byte, out *connectors.Batch) error) Parser {
	return jsonLines[T]{row}
}

type jsonLines[T any] struct {
	row func(v T, line []byte, out *connectors.Batch) error
}

func (j jsonLines[T]) Line(line []byte, out *connectors.Batch) {
	if len(bytes.Trim(line, " \t\r")) == 0 {
		return
	}
	var err error
	if j.row == nil {
		if jsontext.Value(line).IsValid() {
			out.Add(connectors.Out{Value: line, Timestamp: record.NoTimestamp, Partition: -1})
			return
		}
		err = errors.New("not JSON")
	} else {
		var v T
		if err = refuseNull[T](line); err != nil {
			aside(line, err, out)
			return
		}
		if err = json.Unmarshal(line, &v); err == nil {
			err = j.row(v, line, out)
		} else {
			err = fmt.Errorf("not the JSON expected: %w", err)
		}
	}
	if err != nil {
		aside(line, err, out)
	}
}

// refuseNull keeps a null from passing for the zero value of a T that has none.
func refuseNull[T any](line []byte) error {
	if string(bytes.Trim(line, " \t\r")) != "null" {
		return nil
	}
	switch t := reflect.TypeFor[T](); t.Kind() {
	case reflect.Pointer, reflect.Interface, reflect.Map, reflect.Slice:
		return nil
	default:
		return fmt.Errorf("null is no %v", t)
	}
}

func (jsonLines[T]) State() []byte        { return nil }
func (jsonLines[T]) Restore([]byte) error { return nil }
