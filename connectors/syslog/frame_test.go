package syslog

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestFramesOfBothKinds(t *testing.T) {
	long := strings.Repeat("x", 100)
	tests := []struct {
		name, stream string
		want         []string
	}{
		{"newline", "<13>a\n<13>b\r\n<13>c\n", []string{"<13>a", "<13>b", "<13>c"}},
		{"last line without newline", "<13>a\n<13>b", []string{"<13>a", "<13>b"}},
		{"octets", "5 <13>a6 <13>bb", []string{"<13>a", "<13>bb"}},
		{"octets with newlines inside and after", "8 <13>a\nbc\n5 <13>d", []string{"<13>a\nbc", "<13>d"}},
		{"both in one stream", "5 <13>a<13>b\n5 <13>c<13>d\n", []string{"<13>a", "<13>b", "<13>c", "<13>d"}},
		{"a date is no count", "2024-12-10T06:55:46Z h p: x\n5 <13>a", []string{"2024-12-10T06:55:46Z h p: x", "<13>a"}},
		{"digits to the end", "1234", []string{"1234"}},
		{"zero is no count", "0 x\n", []string{"0 x"}},
		{"too many digits", "123456789 x\n", []string{"123456789 x"}},
		{"empty lines", "\n\r\n<13>a\n\n", []string{"<13>a"}},
		{"cut octets", "50 <13>a", []string{"<13>a!truncated"}},
		{"long line", long + "\n<13>a\n", []string{long[:40] + "!long", "<13>a"}},
		{"line at the limit", long[:40] + "\r\n", []string{long[:40]}},
		{"long octets", "100 " + long + "5 <13>a", []string{long[:40] + "!long", "<13>a"}},
		{"long octets that are cut", "99999999 " + long, []string{long[:40] + "!truncated"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := frames{r: bufio.NewReaderSize(iotest.OneByteReader(strings.NewReader(tt.stream)), 16), limit: 40}
			var got []string
			for {
				line, err := f.next()
				switch {
				case errors.Is(err, ErrTooLong):
					got = append(got, string(line)+"!long")
					continue
				case errors.Is(err, ErrTruncated):
					got = append(got, string(line)+"!truncated")
					continue
				case err == io.EOF:
				case err != nil:
					t.Fatal(err)
				default:
					got = append(got, string(line))
					continue
				}
				break
			}
			if strings.Join(got, "|") != strings.Join(tt.want, "|") {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func FuzzFramesKeepTheirBounds(f *testing.F) {
	f.Add([]byte("5 <13>a<13>b\n12 x"))
	f.Add([]byte("99999999 x"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		f := frames{r: bufio.NewReaderSize(strings.NewReader(string(stream)), 16), limit: 40}
		total := 0
		for {
			line, err := f.next()
			if len(line) > 40 {
				t.Fatalf("a line of %d bytes, limit 40", len(line))
			}
			total += len(line)
			if err != nil && !errors.Is(err, ErrTooLong) && !errors.Is(err, ErrTruncated) {
				break
			}
		}
		if total > len(stream) {
			t.Fatalf("%d bytes out of a stream of %d", total, len(stream))
		}
	})
}
