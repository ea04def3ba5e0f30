//go:build !unix

package wire

const canPeek = false

func (c *conn) peerGone() bool { return false }
