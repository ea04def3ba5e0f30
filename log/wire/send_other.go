//go:build !linux

package wire

import (
	"errors"
	"os"
)

// Elsewhere ranges are copied.
const canSendfile = false

func (c *conn) sendMore(b []byte) error { return c.send(b) }

func (c *conn) sendfile(*os.File, int64, int64) (int64, error) { return 0, errors.ErrUnsupported }
