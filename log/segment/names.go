package segment

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/millstream-io/millstream/log/record"
)

// Suffixes of the files in a partition directory; docs/format/segment.md, "Files".
const (
	suffixLog      = ".log"
	suffixIndex    = ".index"
	suffixTime     = ".timeindex"
	suffixTxn      = ".txnindex"
	suffixSnapshot = ".snapshot"

	suffixCleaned = ".cleaned" // being written by the cleaner
	suffixSwap    = ".swap"    // complete; replaces what it covers
	suffixDeleted = ".deleted"
	suffixTmp     = ".tmp"

	nameEpochs   = "leader-epoch-checkpoint"
	nameMetadata = "partition.metadata"
)

// segmentSuffixes are the files that belong to a segment, the .log last.
var segmentSuffixes = [...]string{suffixIndex, suffixTime, suffixTxn, suffixLog}

// auxSuffixes are those of the files that go after their .log.
var auxSuffixes = [...]string{suffixIndex, suffixTime, suffixTxn, suffixSnapshot}

func fileName(dir string, base record.Offset, suffix string) string {
	return filepath.Join(dir, fmt.Sprintf("%020d%s", base, suffix))
}

// parseName splits a file name into the offset and the suffix; false if it is not of a segment.
func parseName(name string) (base record.Offset, suffix string, ok bool) {
	digits, suffix, found := strings.Cut(name, ".")
	if !found || len(digits) != 20 {
		return 0, "", false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 {
		return 0, "", false
	}
	return record.Offset(n), "." + suffix, true
}
