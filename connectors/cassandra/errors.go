package cassandra

import "errors"

var (
	// ErrSchema: keyspace, tables and columns are not what Config.Tables says.
	// The error lists each difference and what to do about it.
	ErrSchema = errors.New("schema does not fit")
	// ErrConfig: the Config cannot work. The error lists every mistake.
	ErrConfig = errors.New("cassandra sink: wrong configuration")
	// ErrRow: a row that no repetition will make acceptable; its record becomes a dead letter.
	ErrRow = errors.New("row refused")
	// ErrNotOpen: Write before Open, or after Close.
	ErrNotOpen = errors.New("cassandra sink: not open")
)
