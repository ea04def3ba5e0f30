package syslog

import (
	"errors"
	"strings"
	"testing"
)

// cut runs a stream through a framer, step bytes at a time, and writes lines
// with what is bad about them.
func cut(t *testing.T, framing Framing, stream string, step, limit int, orderly bool) (got []string) {
	t.Helper()
	f := framer{framing: framing, limit: limit}
	note := func(line []byte, bad error) {
		if len(line) > limit {
			t.Fatalf("a line of %d bytes, limit %d", len(line), limit)
		}
		text := string(line)
		for _, e := range []struct {
			err  error
			mark string
		}{{ErrTooLong, "!long"}, {ErrTruncated, "!truncated"}, {ErrFraming, "!framing"}} {
			if errors.Is(bad, e.err) {
				text += e.mark
				bad = nil
			}
		}
		if bad != nil {
			t.Fatal(bad)
		}
		got = append(got, text)
	}
	for rest := stream; len(rest) > 0 && !f.broken; {
		space := f.space()
		if len(space) == 0 {
			t.Fatalf("no space after %q", got)
		}
		n := copy(space[:min(step, len(space))], rest)
		rest = rest[n:]
		f.filled(n)
		for {
			line, bad, ok := f.next()
			if !ok {
				break
			}
			note(line, bad)
		}
		if most := max(fullBuffer, limit+frameSlack); len(f.buf) > most {
			t.Fatalf("the buffer has %d bytes, bound %d", len(f.buf), most)
		}
	}
	if line, bad, ok := f.last(orderly); ok {
		note(line, bad)
	}
	return got
}

func TestFramesOfAllKinds(t *testing.T) {
	long := strings.Repeat("x", 100)
	tests := []struct {
		name    string
		framing Framing
		stream  string
		want    []string
	}{
		{"newline", FramingAuto, "<13>a\n<13>b\r\n<13>c\n", []string{"<13>a", "<13>b", "<13>c"}},
		{"last line without newline", FramingAuto, "<13>a\n<13>b", []string{"<13>a", "<13>b"}},
		{"NUL", FramingAuto, "<13>a\x00<13>b\x00\n<13>c\n\x00<13>d", []string{"<13>a", "<13>b", "<13>c", "<13>d"}},
		{"octets", FramingAuto, "5 <13>a6 <13>bb", []string{"<13>a", "<13>bb"}},
		{"octets with ends of lines inside and after", FramingAuto, "9 <13>a\nb\x00c\n5 <13>d", []string{"<13>a\nb\x00c", "<13>d"}},
		{"octets that count their newline", FramingAuto, "6 <13>a\n6 <13>b\x00", []string{"<13>a", "<13>b"}},
		{"all in one stream", FramingAuto, "5 <13>a<13>b\n5 <13>c<13>d\x005 <13>e", []string{"<13>a", "<13>b", "<13>c", "<13>d", "<13>e"}},
		{"a date is no count", FramingAuto, "2024-12-10T06:55:46Z h p: x\n5 <13>a", []string{"2024-12-10T06:55:46Z h p: x", "<13>a"}},
		{"a number at the beginning of a line is no count", FramingAuto, "12 monkeys\n5 <13>a", []string{"12 monkeys", "<13>a"}},
		{"after a counted message it is one", FramingAuto, "5 <13>a7 monkeys<13>b\n", []string{"<13>a", "monkeys", "<13>b"}},
		{"digits to the end", FramingAuto, "1234", []string{"1234"}},
		{"a count to the end", FramingAuto, "1234 ", []string{"1234 "}},
		{"zero is no count", FramingAuto, "0 <x\n", []string{"0 <x"}},
		{"too many digits", FramingAuto, "123456789 <x\n", []string{"123456789 <x"}},
		{"empty lines", FramingAuto, "\n\r\n<13>a\n\n", []string{"<13>a"}},
		{"cut octets", FramingAuto, "50 <13>a", []string{"<13>a!truncated"}},
		{"long line", FramingAuto, long + "\n<13>a\n", []string{long[:40] + "!long", "<13>a"}},
		{"line at the limit", FramingAuto, long[:40] + "\r\n", []string{long[:40]}},
		{"line beyond the limit by one", FramingAuto, long[:41] + "\n<13>a\n", []string{long[:40] + "!long", "<13>a"}},
		{"long octets", FramingAuto, "100 <" + long[1:] + "5 <13>a", []string{"<" + long[:39] + "!long", "<13>a"}},
		{"octets at the limit", FramingAuto, "40 <" + long[:39] + "5 <13>a", []string{"<" + long[:39], "<13>a"}},
		{"long octets that are cut", FramingAuto, "99999999 <" + long, []string{"<" + long[:39] + "!long"}},
		{"newline only", FramingNewline, "5 <13>a\n6 b\x00c\n", []string{"5 <13>a", "6 b\x00c"}},
		{"NUL only", FramingNUL, "5 <13>a\nb\x00c\x00d", []string{"5 <13>a\nb", "c", "d"}},
		{"octets only", FramingOctets, "5 hello\n5 <13>a", []string{"hello", "<13>a"}},
		{"octets only, and something else", FramingOctets, "5 hello<13>a\n5 <13>a", []string{"hello", "!framing"}},
		{"octets only, half a count", FramingOctets, "5 hello12", []string{"hello", "12!framing"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, step := range []int{1, 2, 3, 7, 1000} {
				got := cut(t, tt.framing, tt.stream, step, 40, true)
				for i := range got { // how much of a broken stream is kept depends on the reads
					if strings.HasSuffix(got[i], "!framing") && tt.name != "octets only, half a count" {
						got[i] = "!framing"
					}
				}
				if strings.Join(got, "|") != strings.Join(tt.want, "|") {
					t.Errorf("%d bytes at a time:\ngot  %q\nwant %q", step, got, tt.want)
				}
			}
		})
	}
}

func TestALineThatBreaksOffIsMarked(t *testing.T) {
	for stream, want := range map[string]string{"<13>a\n<13>b": "<13>a|<13>b!truncated", "<13>a\n": "<13>a", "<13>a\n5": "<13>a|5!truncated"} {
		if got := strings.Join(cut(t, FramingAuto, stream, 1000, 40, false), "|"); got != want {
			t.Errorf("%q broken off: got %q, want %q", stream, got, want)
		}
	}
}

// A framer must not care how the network cuts a stream, keep its bounds, and
// invent no bytes.
func FuzzFramesDoNotDependOnTheReads(f *testing.F) {
	for _, s := range []string{"5 <13>a<13>b\n12 x", "99999999 <x", "5 <13>a7 monkeys<13>b\n", "a\x00b\r\n\r\nc", "1234567 <", "30 <" + strings.Repeat("y", 60)} {
		f.Add([]byte(s), 3, uint8(0))
	}
	framings := []Framing{FramingAuto, FramingOctets, FramingNewline, FramingNUL}
	f.Fuzz(func(t *testing.T, stream []byte, step int, framing uint8) {
		fr := framings[int(framing)%len(framings)]
		whole := cut(t, fr, string(stream), 1<<20, 40, true)
		step = 1 + int(uint(step)%50)
		parts := cut(t, fr, string(stream), step, 40, true)
		total := 0
		for i := range whole {
			total += len(strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(whole[i], "!long"), "!truncated"), "!framing"))
			if fr == FramingOctets && strings.HasSuffix(whole[i], "!framing") {
				whole[i], parts[i] = "", "" // how much is kept depends on the reads
			}
		}
		if total > len(stream) {
			t.Fatalf("%d bytes out of a stream of %d", total, len(stream))
		}
		if strings.Join(whole, "|") != strings.Join(parts, "|") {
			t.Fatalf("%q\nat once  %q\nin parts %q", stream, whole, parts)
		}
	})
}
