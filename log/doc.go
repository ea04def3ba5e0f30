// Package log holds no code: the folder groups the storage side of Millstream.
//
// It exports nothing because its name shadows the standard library's log. Read,
// bottom up: vfs (the file-system seam), record (record batch version 2),
// segment (one partition on disk), broker (the embeddable broker).
package log
