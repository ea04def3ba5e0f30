// Package file reads records from files and writes them into files.
//
// A Source takes the lines of one file or of all files that match a pattern:
// plain, gzip or zstd (told by their first bytes), to their end or following
// them as they grow, are rotated or truncated. A Parser makes records and dead
// letters of them: Lines, JSONLines, CSV, or one of the program's own. A Sink
// writes a topic into files that appear whole and never change.
//
// The package does not watch directories by notification: a source that follows
// looks again every Poll. It does not know what is in a line.
//
// A Source, like a Sink, is called from one goroutine; Progress may be called
// from any.
//
// # Lines
//
// A line ends with LF or CRLF, which are not part of it; a byte order mark of
// UTF-8 at the beginning of a file is passed over. A Parser that is also a
// Splitter says itself where a record ends (CSV does: a quoted field may hold
// newlines). What is longer than MaxLine is a dead letter with its first MaxLine
// bytes, so memory is bounded: a read of 256 KiB, MaxLine, the batch, and a
// decompressor's window of at most 128 MiB.
//
// A last line without newline is taken when the file ends there (read to its
// end) or has not grown for PartialAfter (followed). If it goes on later with a
// newline, nothing is lost or doubled; if with more text, that line was taken
// too early: its first part was read as a line, and its rest, which is none,
// becomes a dead letter. A program that is run again and again over a file while
// another writes it follows it (Tail), or reads it when its last line is whole.
//
// # Position
//
// A file is known by its head, the first KiB of its (decompressed) content, less
// while it is shorter, and the place in it by an offset into the decompressed
// content. The name is only a hint. The position holds every file of the source:
//
//	version     1 byte, 2
//	files       uvarint; then for each:
//	  path      uvarint length and bytes
//	  flags     1 byte; bit 0: the last line taken had no newline yet, bit 1: in the
//	            middle of a line that is too long, bit 2: a compressed file read to its end,
//	            bit 3: a Glob's file that cannot be read and was reported
//	  head      2 bytes big-endian, 0 to 1024
//	  hash      32 bytes, SHA-256 of that many bytes
//	  offset    8 bytes big-endian: everything before it is taken
//	  lines     8 bytes big-endian: the newlines before offset
//	  state     uvarint length and bytes: what the parser remembers
//
// Version 1, of a single file, had no files, path and lines, and the state to
// the end; it is still read.
//
// # When the file is not the same
//
//	read to its end     one Path that is shorter or begins differently: ErrShorter,
//	                    ErrOtherHead; of a Glob it is another file, read from its start
//	followed, renamed   found again by its inode, its head, or as PATH* beside it (also
//	                    when it was compressed since); its rest is read first, then what
//	                    was rotated after it, then the new file
//	followed, truncated the rest is looked for in a copy beside it (PATH*, copytruncate);
//	                    the file is read from its start
//	followed, gone      its open handle is read to the end; it is forgotten
//
// # Bad input
//
//	a line longer than MaxLine            dead letter with its first bytes, the next line is read
//	a row of CSV that is none             dead letter of that line, reading goes on with the next line
//	a row in quotes longer than MaxLine   dead letter with its first bytes, the next row is read
//	... and 256 KiB longer                dead letter of its first line, the others are read as rows: nothing
//	                                      tells it from a quote that is never closed. Raise MaxLine
//	a row with too few or many fields     dead letter
//	a header other than expected          error: ErrHeader (with Glob: a dead letter, the file is passed over)
//	a damaged compressed file             error: ErrDamaged (with Glob: a dead letter, the rest of it is passed over)
//	a compressed file that ends too early the same; followed: read on when it has grown
//	a file that is missing or unreadable  error that names it; followed: waited for
//	a directory in place of a file        error that names it; with Glob: passed over
//	another file than before              above
//
// Dead letters carry HeaderFile and HeaderLine: the file's name and the number
// of the (first) line.
package file
