//go:build linux

package vfs

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxIOV is the kernel's bound on buffers per pwritev (UIO_MAXIOV).
const maxIOV = 1024

// writevAt writes bufs from off with pwritev, going on after short writes.
func writevAt(f *os.File, bufs [][]byte, off int64) (int, error) {
	switch len(bufs) {
	case 0:
		return 0, nil
	case 1:
		return f.WriteAt(bufs[0], off)
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	total := 0
	var werr error
	err = conn.Write(func(fd uintptr) bool {
		total, werr = pwritevAll(int(fd), bufs, off)
		return true
	})
	if err != nil {
		return total, err
	}
	return total, werr
}

// pwritevAll never changes bufs: a short write is finished by pwrite on the
// buffer that it ended in, and vectored writes go on from the next one.
func pwritevAll(fd int, bufs [][]byte, off int64) (int, error) {
	total := 0
	for len(bufs) > 0 {
		part := bufs[:min(len(bufs), maxIOV)]
		want := 0
		for _, b := range part {
			want += len(b)
		}
		if want == 0 {
			bufs = bufs[len(part):]
			continue
		}
		n, err := retryInterrupted(func() (int, error) { return unix.Pwritev(fd, part, off+int64(total)) })
		if err != nil {
			return total, err
		}
		if n <= 0 {
			return total, io.ErrUnexpectedEOF
		}
		total += n
		for len(bufs) > 0 && n >= len(bufs[0]) {
			n -= len(bufs[0])
			bufs = bufs[1:]
		}
		if n == 0 {
			continue
		}
		m, err := pwriteAll(fd, bufs[0][n:], off+int64(total))
		total += m
		if err != nil {
			return total, err
		}
		bufs = bufs[1:]
	}
	return total, nil
}

func pwriteAll(fd int, p []byte, off int64) (int, error) {
	total := 0
	for total < len(p) {
		n, err := retryInterrupted(func() (int, error) { return unix.Pwrite(fd, p[total:], off+int64(total)) })
		if err != nil {
			return total, err
		}
		if n <= 0 {
			return total, io.ErrUnexpectedEOF
		}
		total += n
	}
	return total, nil
}

func retryInterrupted(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// onFD runs call with f's descriptor kept open, again while it is interrupted.
func onFD(f *os.File, call func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var cerr error
	err = conn.Control(func(fd uintptr) {
		for {
			if cerr = call(int(fd)); !errors.Is(cerr, unix.EINTR) {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	return cerr
}

func fdatasync(f *os.File) error { return onFD(f, unix.Fdatasync) }

// syncDir uses fsync: a directory's entries are what fdatasync may leave out.
func syncDir(d *os.File) error { return d.Sync() }

func preallocate(f *os.File, size int64) error {
	if size <= 0 {
		return nil
	}
	err := onFD(f, func(fd int) error {
		return unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, 0, size)
	})
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil // a hint only; tmpfs, NFS and others may not have it
	}
	return err
}

// diskBytes are the bytes free for this process, and all, of the file system of name.
func diskBytes(name string) (free, total uint64, err error) {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(name, &st)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, 0, err
		}
		return st.Bavail * uint64(st.Bsize), st.Blocks * uint64(st.Bsize), nil
	}
}
