// Package record is Kafka's record batch, version 2 (magic 2): build, parse,
// validate, iterate, compress. docs/format/batch.md draws every field; the
// comments here cite its sections by name.
//
// It is pure: no goroutine, no clock, no I/O. It is not the log (offsets are
// assigned by log/segment) and not the wire (requests are kmsg's). Everybody
// uses it: segment validates and stamps batches, broker and clients build and
// iterate them.
//
// Bytes are moved in whole batches and records are looked at in place: the
// path per record allocates nothing. What a View points to is borrowed, see
// there. The types here are not safe for concurrent use; the functions are.
//
//	it := record.NewIterator(chunk, record.ReadOptions{})
//	defer it.Release()
//	for it.Next(&v) {
//		use(v.Offset, v.Key, v.Value)
//	}
//	return it.Err()
package record
