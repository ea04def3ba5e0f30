package processor

import "fmt"

func (e *DecodeError) Error() string {
	return fmt.Sprintf("%s-%d offset %d: cannot decode the %s: %v", e.Topic, e.Partition, e.Offset, e.Field, e.Err)
}

func (e *DecodeError) Unwrap() error { return e.Err }

// EncodeError says that an operator's output cannot be encoded by its serde.
type EncodeError struct {
	Node  string // the operator's name
	Field string // "key" or "value"
	Err   error
}

func (e *EncodeError) Error() string {
	return fmt.Sprintf("operator %q: cannot encode the %s: %v", e.Node, e.Field, e.Err)
}

func (e *EncodeError) Unwrap() error { return e.Err }
