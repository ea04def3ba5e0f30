package sysloglines

import (
	"bytes"
	"hash/crc32"
	"testing"
)

func TestTheSameSeedGivesTheSameLines(t *testing.T) {
	sum := func(seed int64) (uint32, int) {
		in := &Input{Records: 10_000, Hosts: 1000, Seed: seed}
		h := crc32.NewIEEE()
		marked := 0
		if err := in.Generate(func(_ int64, key, line []byte) error {
			h.Write(key)
			h.Write(line)
			if bytes.Contains(line, []byte(Mark)) {
				marked++
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if marked != len(in.Matched) {
			t.Errorf("%d lines have the mark, %d are said to match", marked, len(in.Matched))
		}
		return h.Sum32(), marked
	}
	first, n := sum(42)
	again, _ := sum(42)
	other, _ := sum(43)
	if first != again || first == other {
		t.Errorf("seed 42 gives %x and %x, seed 43 gives %x", first, again, other)
	}
	if n < 2800 || n > 3200 {
		t.Errorf("%d of 10,000 lines match, expected about 3,000", n)
	}
}

func TestFoldCountsEachRoundInItsOwnWindows(t *testing.T) {
	in := &Input{Records: 2 * WindowMS / StepMS, Hosts: 2, Seed: 1}
	if err := in.Generate(func(int64, []byte, []byte) error { return nil }); err != nil {
		t.Fatal(err)
	}
	var one, two int64
	for _, n := range in.Fold(1) {
		one += n
	}
	windows := in.Fold(2)
	for _, n := range windows {
		two += n
	}
	if one != int64(len(in.Matched)) || two != 2*one || len(windows) != 2*len(in.Fold(1)) {
		t.Errorf("one round counts %d of %d lines, two %d in %d windows", one, len(in.Matched), two, len(windows))
	}
}
