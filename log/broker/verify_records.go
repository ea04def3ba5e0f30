package broker

import (
	"path"
	"strings"

	"github.com/millstream-io/millstream/log/internal/group"
	"github.com/millstream-io/millstream/log/internal/txn"
	"github.com/millstream-io/millstream/log/record"
	"github.com/millstream-io/millstream/log/segment"
)

// coordinatorRecords checks that the records of a coordinator's partition decode,
// below upTo unless that is 0. Other topics' records are their writers' business.
func (v *verifier) coordinatorRecords(topic, dir string, upTo record.Offset) {
	var check func(r *record.View) error
	switch topic {
	case offsetsTopic:
		check = func(r *record.View) error {
			return group.New(group.Config{}).Replay(r.Key, r.Value, r.Offset, record.NoProducerID)
		}
	case transactionTopic:
		check = func(r *record.View) error {
			_, _, err := txn.Decode(r.Key, r.Value)
			return err
		}
	default:
		return
	}
	names, err := v.fs.ReadDir(dir)
	if err != nil {
		v.emit(segment.Finding{Path: dir, Pos: -1, Offset: record.NoOffset, What: err.Error()})
		return
	}
	for _, name := range names { // in order of offsets
		if strings.HasSuffix(name, ".log") {
			v.decodeAll(path.Join(dir, name), upTo, check)
		}
	}
}

// decodeAll reports the records of a segment that do not decode.
func (v *verifier) decodeAll(file string, upTo record.Offset, check func(*record.View) error) {
	it := record.NewIterator(nil, record.ReadOptions{})
	defer it.Release()
	for d, err := range segment.Dump(v.fs, file) {
		if upTo > 0 && d.Header.BaseOffset >= upTo {
			return
		}
		bad := func(offset record.Offset, err error) {
			v.emit(segment.Finding{Path: file, Pos: d.Pos, Offset: offset, What: err.Error()})
		}
		if err != nil {
			bad(record.NoOffset, err)
			return
		}
		if d.Header.Control() {
			continue
		}
		it.Reset(d.Raw, record.ReadOptions{SkipCRC: true})
		var r record.View
		for it.Next(&r) {
			if err := check(&r); err != nil {
				bad(r.Offset, err)
			}
		}
	}
}
