package badgerstore

// Finding is one thing that is wrong with a directory.
type Finding struct {
	Path   string // of the file
	Offset int64  // in bytes; -1 if the whole file is meant
	What   string // one line: expected against found
}

// Verify reads every file of the database in dir, which no process may have
// open, and reports what is wrong. It changes nothing. The error is for what
// stopped the reading (a missing directory, one in use).
func Verify(dir string) ([]Finding, error) { panic("soon") }
