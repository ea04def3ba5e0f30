package connectors

import "github.com/millstream-io/millstream/log/record"

// Add copies one record into the batch. Null stays null and empty stays empty.
func (b *Batch) Add(o Out) {
	o.Key = b.copy(o.Key)
	o.Value = b.copy(o.Value)
	o.Headers = b.copyHeaders(o.Headers)
	b.records = append(b.records, o)
}

// Records are what was added since Reset, valid until the next Reset.
func (b *Batch) Records() []Out { return b.records }

// Len is the number of records.
func (b *Batch) Len() int { return len(b.records) }

// Bytes is the size of keys, values and header values.
func (b *Batch) Bytes() int { return len(b.arena) }

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	clear(b.records)
	b.records = b.records[:0]
	clear(b.headers)
	b.headers = b.headers[:0]
	b.arena = b.arena[:0]
}

// copyHeaders copies headers into one slice that all records share: a header
// per record would otherwise be an allocation per record.
func (b *Batch) copyHeaders(hs []record.Header) []record.Header {
	if len(hs) == 0 {
		return nil
	}
	n := len(b.headers)
	for _, h := range hs {
		h.Value = b.copy(h.Value)
		b.headers = append(b.headers, h)
	}
	return b.headers[n:len(b.headers):len(b.headers)]
}

func (b *Batch) copy(p []byte) []byte {
	if p == nil {
		return nil
	}
	if len(p) == 0 {
		return []byte{} // empty is not null, also while the arena is still nil
	}
	n := len(b.arena)
	b.arena = append(b.arena, p...)
	return b.arena[n:len(b.arena):len(b.arena)]
}
