package engine

// diskRounds is after how many of the trimmer's rounds disk use is reported.
const diskRounds = 10

// DiskUsage is what an engine takes on disk, in bytes.
type DiskUsage struct {
	LogBytes   int64 // the log's segments; 0 if the log is not on this machine
	StateBytes int64 // the local database
	FreeBytes  int64 // free in the log's file system; -1 if that is not known
}

// usager is a log that is on this machine.
type usager interface {
	Usage() (used int64, free uint64, err error)
}

// Disk measures what the engine takes.
func (e *Engine) Disk() DiskUsage {
	d := DiskUsage{StateBytes: e.db.SizeBytes(), FreeBytes: -1}
	if l, ok := e.log.(usager); ok {
		used, free, err := l.Usage()
		d.LogBytes = used
		if err == nil {
			d.FreeBytes = int64(min(free, 1<<62))
		}
	}
	return d
}

func (e *Engine) reportDisk() {
	if h := e.cfg.Hooks.Disk; h != nil {
		h(e.Disk())
	}
}
