package main

import (
	"encoding/json"
	"fmt"
)

// severities are RFC 5424's, as syslog.conf abbreviates them.
var severities = [len(Counts{})]string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}

// decodeCounts reads a value of the topic counts, which is JSON.
func decodeCounts(value []byte) (n Counts, err error) {
	err = json.Unmarshal(value, &n)
	return n, err
}

// total is the number of lines of all severities.
func (n Counts) total() (sum int64) {
	for _, c := range n {
		sum += c
	}
	return sum
}

// appendCounts appends a line: the host, then the severities that it has.
func appendCounts(dst []byte, host string, n Counts) []byte {
	dst = fmt.Appendf(dst, "%-8s %3d lines:", host, n.total())
	for severity, c := range n {
		if c > 0 {
			dst = fmt.Appendf(dst, "  %s %d", severities[severity], c)
		}
	}
	return append(dst, '\n')
}
