package streams

import "fmt"

// OperatorError is one mistake in a program. Build joins all of them; use
// errors.As or print the whole.
type OperatorError struct {
	Operator string // the operator's name; empty: the program
	Err      error
}

func (e *OperatorError) Error() string {
	if e.Operator == "" {
		return e.Err.Error()
	}
	return fmt.Sprintf("operator %q: %v", e.Operator, e.Err)
}

func (e *OperatorError) Unwrap() error { return e.Err }
