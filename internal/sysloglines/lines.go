// Package sysloglines makes the deterministic syslog lines that benchmarks
// count, and the counts that must come of them. The same seed gives the same
// lines on every machine. It is pure; an Input is for one goroutine at a time.
package sysloglines

import (
	"fmt"
	"math/rand"
	"strconv"
	"time"
)

const (
	// FirstTimeMS is the event time of the first line; each next one is StepMS later.
	FirstTimeMS = 1795219200000
	StepMS      = 1
	// WindowMS is the length of the windows in which lines are counted.
	WindowMS = 60_000
	// Mark is in the lines that are counted, InvalidShare of all.
	Mark         = "invalid user"
	InvalidShare = 0.30
)

var users = []string{"root", "admin", "test", "oracle", "postgres", "git", "ubuntu", "pi", "guest", "ftp"}

// Input is one round of the input: what it takes to write it again and again,
// and to fold it.
type Input struct {
	Records int
	Hosts   int
	Uniform bool // hosts are equally busy; else by Zipf's law
	Seed    int64
	// Matched is every line that is counted, in order, once Generate has run.
	Matched []Match
}

// Match is a line that is counted.
type Match struct {
	Host    uint32
	AfterMS uint32 // ms after the round's first record
}

// Key is the name of a host, the key of its lines.
func (in *Input) Key(host uint32) []byte {
	if in.Uniform {
		return fmt.Appendf(nil, "host-%07d", host)
	}
	return fmt.Appendf(nil, "host-%04d", host)
}

// Generate calls emit for every record of the first round. Key and line are borrowed.
func (in *Input) Generate(emit func(ms int64, key, line []byte) error) error {
	in.Matched = in.Matched[:0]
	r := rand.New(rand.NewSource(in.Seed))
	z := rand.NewZipf(r, 1.1, 10, uint64(in.Hosts-1))
	keys := make([][]byte, in.Hosts)
	for i := range keys {
		keys[i] = in.Key(uint32(i))
	}
	var line []byte
	for i := range in.Records {
		ms := FirstTimeMS + int64(i)*StepMS
		host := uint32(0)
		if in.Uniform {
			host = uint32(r.Intn(in.Hosts))
		} else {
			host = uint32(z.Uint64())
		}
		invalid := r.Float64() < InvalidShare
		line = appendLine(line[:0], r, ms, keys[host], invalid)
		if invalid {
			in.Matched = append(in.Matched, Match{host, uint32(i * StepMS)})
		}
		if err := emit(ms, keys[host], line); err != nil {
			return err
		}
	}
	return nil
}

func appendLine(b []byte, r *rand.Rand, ms int64, host []byte, invalid bool) []byte {
	user := users[r.Intn(len(users))]
	pid := 1000 + r.Intn(60000)
	ip := r.Uint32()
	port := 1024 + r.Intn(60000)
	b = append(b, "<38>"...)
	b = time.UnixMilli(ms).UTC().AppendFormat(b, "Jan _2 15:04:05")
	b = append(b, ' ')
	b = append(b, host...)
	b = append(b, " sshd["...)
	b = strconv.AppendInt(b, int64(pid), 10)
	if invalid {
		b = append(b, "]: Failed password for "+Mark+" "...)
	} else {
		b = append(b, "]: Accepted publickey for known user "...)
	}
	b = append(b, user...)
	b = append(b, " from "...)
	b = strconv.AppendInt(b, int64(ip>>24), 10)
	for _, shift := range []uint{16, 8, 0} {
		b = append(b, '.')
		b = strconv.AppendInt(b, int64(ip>>shift&255), 10)
	}
	b = append(b, " port "...)
	b = strconv.AppendInt(b, int64(port), 10)
	return append(b, " ssh2"...)
}

// RoundMS is the event time of a round.
func (in *Input) RoundMS() int64 { return int64(in.Records) * StepMS }

// Window is a host's minute, by its start.
type Window struct {
	Host    uint32
	StartMS int64
}

// Fold counts what a program must have counted after some rounds, each RoundMS
// later than the one before. Generate must have run.
func (in *Input) Fold(rounds int) map[Window]int64 {
	counts := map[Window]int64{}
	for r := range rounds {
		base := FirstTimeMS + int64(r)*in.RoundMS()
		for _, m := range in.Matched {
			ms := base + int64(m.AfterMS)
			counts[Window{m.Host, ms - ms%WindowMS}]++
		}
	}
	return counts
}
