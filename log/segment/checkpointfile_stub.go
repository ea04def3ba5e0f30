package segment

import (
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/vfs"
)

// ReadOffsetCheckpoint reads one of the root's checkpoint files (docs/format/checkpoint-files.md); a missing one
// gives fs.ErrNotExist, a malformed one *FormatError.
func ReadOffsetCheckpoint(fs vfs.FS, path string) (map[record.TopicPartition]record.Offset, error) {
	panic("todo")
}

// WriteOffsetCheckpoint replaces a root checkpoint file atomically and durably.
func WriteOffsetCheckpoint(fs vfs.FS, path string, offsets map[record.TopicPartition]record.Offset) error {
	panic("todo")
}
