package vfs

import "io/fs"

// faultFile is an open file of a FaultFS; rules match the name it was opened by.
type faultFile struct {
	fs    *FaultFS
	name  string
	inner File
}

func (f *faultFile) Close() error { return f.inner.Close() }

func (f *faultFile) Size() (int64, error) { return f.inner.Size() }

func (f *faultFile) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.fs.do(OpRead, f.name, func() (err error) { n, err = f.inner.ReadAt(p, off); return err }, nil)
	return n, err
}

func (f *faultFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.fs.do(OpWrite, f.name,
		func() (err error) { n, err = f.inner.WriteAt(p, off); return err },
		func(r *Rule) (err error) { n, err = f.short([][]byte{p}, off, r); return err })
	return n, err
}

func (f *faultFile) WritevAt(bufs [][]byte, off int64) (n int, err error) {
	err = f.fs.do(OpWrite, f.name,
		func() (err error) { n, err = f.inner.WritevAt(bufs, off); return err },
		func(r *Rule) (err error) { n, err = f.short(bufs, off, r); return err })
	return n, err
}

// short writes the first bytes that the rule lets through, then fails.
func (f *faultFile) short(bufs [][]byte, off int64, r *Rule) (int, error) {
	total := 0
	for _, b := range bufs {
		b = b[:min(len(b), max(r.Short-total, 0))]
		if len(b) == 0 {
			continue
		}
		n, err := f.inner.WriteAt(b, off+int64(total))
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, &fs.PathError{Op: "write", Path: f.name, Err: r.Err}
}

func (f *faultFile) Truncate(size int64) error {
	return f.fs.do(OpTruncate, f.name, func() error { return f.inner.Truncate(size) }, nil)
}

func (f *faultFile) Preallocate(size int64) error {
	return f.fs.do(OpPreallocate, f.name, func() error { return f.inner.Preallocate(size) }, nil)
}

func (f *faultFile) Sync() error {
	return f.fs.do(OpSync, f.name, f.inner.Sync, nil)
}
