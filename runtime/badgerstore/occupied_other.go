//go:build !unix

package badgerstore

import "io/fs"

func occupied(info fs.FileInfo) int64 { return info.Size() }
