package file

import (
	"io"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/connectors"
)

func BenchmarkLines(b *testing.B) {
	text := strings.Repeat("Dec 10 06:55:46 LabSZ sshd[24200]: Invalid user webmaster from 173.234.31.186\n", 50_000)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	var out connectors.Batch
	for b.Loop() {
		s := New(Config{Path: "-", Stdin: strings.NewReader(text), MaxLine: 64 << 10})
		s.Open(b.Context(), connectors.SourceContext{}, nil)
		for {
			out.Reset()
			if err := s.Read(b.Context(), &out); err == io.EOF {
				break
			}
		}
	}
}
