package wire

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var rewrite = flag.Bool("rewrite", false, "write docs/PROTOCOL.md anew")

func TestProtocolIsTheTable(t *testing.T) {
	const file = "../../docs/PROTOCOL.md"
	if *rewrite {
		if err := os.WriteFile(file, Protocol(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, Protocol()) {
		t.Errorf("%s is not what the table of api.go says; renew it: go test ./log/wire -run Protocol -rewrite", file)
	}
}

func TestTheTableIsSane(t *testing.T) {
	last := int16(-1)
	for i := range apis {
		a := &apis[i]
		req := kmsg.RequestForKey(a.key)
		if a.key <= last {
			t.Errorf("key %d stands after %d: the table is sorted by key", a.key, last)
		}
		last = a.key
		if req == nil || a.min > a.max || a.min < 0 || a.max > req.MaxVersion() || a.handle == nil {
			t.Errorf("key %d: versions %d to %d are not all known", a.key, a.min, a.max)
		}
	}
}
