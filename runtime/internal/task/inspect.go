package task

import (
	"strings"

	"github.com/millstream-io/millstream/log/record"
)

// Watermark reports whether a record of a repartition topic is a watermark: the
// task's own business, not a user's record.
func Watermark(hs []record.Header) bool { return isWatermark(hs) }

// Reserved reports whether a header is the task's own business.
func Reserved(h record.Header) bool { return strings.HasPrefix(h.Key, headerPrefix) }
