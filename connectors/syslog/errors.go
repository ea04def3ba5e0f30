package syslog

import "errors"

// Reasons for which a line goes to the dead letters, besides what go-syslog says.
var (
	ErrEmptyLine   = errors.New("the line is empty")
	ErrNoTime      = errors.New("the line has no time")
	ErrBefore1970  = errors.New("the line's time is before 1970, which the log cannot hold")
	ErrControlChar = errors.New("the line has a control character")
	ErrTooLong     = errors.New("the line is longer than the limit")
	ErrTruncated   = errors.New("the connection ended in the middle of a line")
	ErrFraming     = errors.New("the stream is not octet-counted, as its listener is told to expect")
)

// ErrSocketInUse says that somebody listens on a unix socket's path already.
var ErrSocketInUse = errors.New("another process listens on the socket")
