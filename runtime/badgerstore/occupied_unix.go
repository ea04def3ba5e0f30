//go:build unix

package badgerstore

import (
	"io/fs"
	"syscall"
)

// occupied is the space of a file on disk, without its holes.
func occupied(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return info.Size()
}
