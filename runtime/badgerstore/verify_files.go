package badgerstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"

	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/y"
	"google.golang.org/protobuf/proto"
)

// inspectTable checks a table: the index against its checksum, every block
// against its own, and that blocks, index and footer cover the file.
func inspectTable(path string, b []byte) (found []Finding) {
	bad := func(off int64, format string, args ...any) []Finding {
		return append(found, Finding{path, off, oneLine(fmt.Sprintf(format, args...))})
	}
	defer func() {
		if r := recover(); r != nil { // the index's flatbuffer reads without bounds
			found = bad(0, "the table cannot be read: %v", r)
		}
	}()
	size := int64(len(b))
	index, sum, at, what := tail(b)
	if what != "" {
		return bad(at, "table footer: %s", what)
	}
	if err := checkSum(index, sum); err != nil {
		return bad(at, "table index: %v", err)
	}
	root := fb.GetRootAsTableIndex(index, 0)
	var blk fb.BlockOffset
	next := int64(0)
	for i := range root.OffsetsLength() {
		if !root.Offsets(&blk, i) {
			return bad(at, "table index: block %d of %d is missing", i, root.OffsetsLength())
		}
		off, n := int64(blk.Offset()), int64(blk.Len())
		if off != next || off+n > at {
			return bad(off, "block %d is at %d with %d bytes, expected at %d and before %d", i, off, n, next, at)
		}
		next = off + n
		if what := checkBlock(b[off:next]); what != "" {
			found = bad(off, "block %d of %d bytes: %s", i, n, what)
		}
	}
	if next != at {
		found = bad(next, "the blocks end at %d, the index begins at %d of %d bytes", next, at, size)
	}
	return found
}

// tail finds the index of a table and its checksum from the end: index, length
// of the index, checksum, length of the checksum.
func tail(b []byte) (index, sum []byte, at int64, what string) {
	end := int64(len(b))
	if end < 8 {
		return nil, nil, 0, fmt.Sprintf("the file has %d bytes", end)
	}
	n := be32(b[end-4:])
	if n > end-8 {
		return nil, nil, end - 4, fmt.Sprintf("a checksum of %d bytes in a file of %d", n, end)
	}
	sum = b[end-4-n : end-4]
	end -= 4 + n + 4
	n = be32(b[end:])
	if n > end {
		return nil, nil, end, fmt.Sprintf("an index of %d bytes before offset %d", n, end)
	}
	return b[end-n : end], sum, end - n, ""
}

func checkBlock(b []byte) (what string) {
	end := int64(len(b)) - 4
	if end < 4 {
		return "too short"
	}
	n := be32(b[end:])
	if n > end-4 {
		return fmt.Sprintf("a checksum of %d bytes", n)
	}
	if err := checkSum(b[:end-n], b[end-n:end]); err != nil {
		return err.Error()
	}
	return ""
}

func checkSum(data, sum []byte) error {
	var want pb.Checksum
	if err := proto.Unmarshal(sum, &want); err != nil {
		return err
	}
	return y.VerifyChecksum(data, &want)
}

// walEntry is what the scan of a WAL or value log needs of an entry.
type walEntry struct {
	meta       byte
	key, value []byte
	size       int
}

const (
	logHeader = 20 // key id (8), base IV (12)
	bitTxn    = 1 << 6
	bitFinTxn = 1 << 7
)

// readEntry reads the entry at the start of b: meta, user meta, lengths of key
// and value and expiry as varints, key, value, CRC32C.
func readEntry(b []byte) (e walEntry, ok bool) {
	if len(b) < 2 {
		return e, false
	}
	i := 2
	var nums [3]uint64
	for j := range nums {
		v, n := binary.Uvarint(b[i:])
		if n <= 0 {
			return e, false
		}
		nums[j] = v
		i += n
	}
	klen, vlen := nums[0], nums[1]
	if klen == 0 || klen > uint64(len(b)) || vlen > uint64(len(b)) || uint64(i)+klen+vlen+4 > uint64(len(b)) {
		return e, false
	}
	end := i + int(klen) + int(vlen)
	if crc32.Checksum(b[:end], castagnoli) != binary.BigEndian.Uint32(b[end:]) {
		return e, false
	}
	return walEntry{b[0], b[i : i+int(klen)], b[i+int(klen) : end], end + 4}, true
}

// inspectLogHeader checks what would keep Badger from opening a WAL or value
// log. The rest it repairs: it cuts a damaged end, and the journal tells whether
// that lost a checkpoint.
func inspectLogHeader(path string) ([]Finding, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b := make([]byte, logHeader)
	n, err := io.ReadFull(f, b)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return inspectLogStart(path, b[:n]), nil
}

func inspectLogStart(path string, b []byte) []Finding {
	if len(b) < logHeader {
		return []Finding{{path, 0, fmt.Sprintf("%d bytes, expected a header of %d", len(b), logHeader)}}
	}
	if id := binary.BigEndian.Uint64(b); id != 0 {
		return []Finding{{path, 0, fmt.Sprintf("encrypted with key %d, expected 0: none", id)}}
	}
	return nil
}

// inspectLog checks a memtable's WAL or a value log: whole entries in whole
// transactions, then zeros only.
func inspectLog(path string, b []byte, wal bool) []Finding {
	if found := inspectLogStart(path, b); len(found) > 0 {
		return found
	}
	off, txn := logHeader, uint64(0)
	for {
		e, ok := readEntry(b[off:])
		if !ok {
			break
		}
		switch {
		case e.meta&bitTxn != 0:
			txn = y.ParseTs(e.key)
		case e.meta&bitFinTxn != 0:
			if ts, err := strconv.ParseUint(string(e.value), 10, 64); err != nil || (wal && ts != txn) {
				return []Finding{{path, int64(off), fmt.Sprintf("the transaction ends as %q, expected %d", e.value, txn)}}
			}
		}
		off += e.size
	}
	if i := firstNonZero(b[off:]); i >= 0 {
		return []Finding{{path, int64(off), fmt.Sprintf("no whole entry and not empty: byte %d is %#x", off+i, b[off+i])}}
	}
	return nil
}

func firstNonZero(b []byte) int {
	var zero [4096]byte
	for off := 0; off < len(b); off += len(zero) {
		part := b[off:min(off+len(zero), len(b))]
		if !bytes.Equal(part, zero[:len(part)]) {
			return off + bytes.IndexFunc(part, func(r rune) bool { return r != 0 })
		}
	}
	return -1
}

// parseManifest returns the tables that a MANIFEST names: magic, versions, then
// change sets, each with its length and CRC32C.
func parseManifest(path string, b []byte, strict bool) (tables map[uint64]bool, found []Finding) {
	const head = "Bdgr\x00\x00\x00\x08" // magic, external version 0, version 8
	bad := func(off int, what string) (map[uint64]bool, []Finding) {
		return tables, []Finding{{path, int64(off), what}}
	}
	if !bytes.HasPrefix(b, []byte(head)) {
		return bad(0, fmt.Sprintf("begins with %q, expected %q (Badger's magic and version)", b[:min(8, len(b))], head))
	}
	tables = map[uint64]bool{}
	for off := 8; off < len(b); {
		if len(b)-off < 8 || be32(b[off:]) > int64(len(b)-off-8) {
			if strict || (len(b)-off >= 8 && be32(b[off:]) > int64(len(b))) {
				return bad(off, "the last change set is not whole")
			}
			break
		}
		n := int(be32(b[off:]))
		data := b[off+8 : off+8+n]
		if crc32.Checksum(data, castagnoli) != binary.BigEndian.Uint32(b[off+4:]) {
			return bad(off, fmt.Sprintf("the change set of %d bytes does not match its checksum", n))
		}
		var set pb.ManifestChangeSet
		if err := proto.Unmarshal(data, &set); err != nil {
			return bad(off, err.Error())
		}
		for _, c := range set.Changes {
			if c.Op == pb.ManifestChange_CREATE {
				tables[c.Id] = true
			} else {
				delete(tables, c.Id)
			}
		}
		off += 8 + n
	}
	return tables, nil
}
