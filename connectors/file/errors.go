package file

import "errors"

// Errors of Open and Read, wrapped with the path and what to do.
var (
	ErrShorter   = errors.New("the file is shorter than what was read of it before")
	ErrOtherHead = errors.New("the file begins differently from the one that was read before")
	ErrDamaged   = errors.New("the compressed data is damaged or ends too early")
	ErrHeader    = errors.New("the header is not the one expected")
	ErrNoMatch   = errors.New("no file matches")
)

// ErrTooLong and ErrLateRest are reasons of dead letters.
var (
	ErrTooLong  = errors.New("the line is longer than the limit")
	ErrLateRest = errors.New("the rest of a line that was taken without its end, when the file ended there")
)

// ErrOtherTopic is returned by a Sink's Open for a directory that another
// topic's files are in.
var ErrOtherTopic = errors.New("the directory holds the files of another topic of this name")
