package state

import "encoding/binary"

// AppendWindowKey appends the key of a window store: the window's start in
// milliseconds (big-endian with the sign bit flipped, so that byte order is
// time order), then the encoded key.
func AppendWindowKey(dst []byte, startMS int64, key []byte) []byte {
	dst = AppendWindowStart(dst, startMS)
	return append(dst, key...)
}

// AppendWindowStart appends the 8 bytes that begin every key of one window.
func AppendWindowStart(dst []byte, startMS int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(startMS)^(1<<63))
}

// SplitWindowKey takes a window store's key apart. ok is false if it is too short.
func SplitWindowKey(b []byte) (startMS int64, key []byte, ok bool) {
	if len(b) < 8 {
		return 0, nil, false
	}
	return int64(binary.BigEndian.Uint64(b) ^ (1 << 63)), b[8:], true
}

// AppendValue appends a timestamped value: its timestamp in milliseconds (8
// bytes, big-endian), then the encoded value.
func AppendValue(dst []byte, timestampMS int64, value []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(timestampMS))
	return append(dst, value...)
}

// SplitValue takes a timestamped value apart. ok is false if it is too short.
func SplitValue(b []byte) (timestampMS int64, value []byte, ok bool) {
	if len(b) < 8 {
		return 0, nil, false
	}
	return int64(binary.BigEndian.Uint64(b)), b[8:], true
}
