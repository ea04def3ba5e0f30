package clients

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/internal/peers"
)

// kcat is librdkafka's command line, of Debian's package.
func kcat(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	path := peers.NeedDebian(t, "kcat", "kcat")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, append([]string{"-b", target(t)}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		t.Fatalf("kcat %v: %v\n%s", args, err, complaints.String())
	}
	return out.String()
}

func TestIntegrationKcatProducesAndConsumes(t *testing.T) {
	peers.NeedIntegration(t)
	for _, codec := range allCodecs {
		topic := create(t, 2, nil)
		var in, want []string
		for i := range 200 {
			in = append(in, fmt.Sprintf("key%d\tvalue %d", i%5, i))
			want = append(want, fmt.Sprintf("key%d value %d h=1", i%5, i))
		}
		kcat(t, strings.Join(in, "\n")+"\n", "-P", "-t", topic, "-K", "\t", "-z", codec, "-H", "h=1", "-X", "enable.idempotence=true")
		got := strings.Split(strings.TrimSpace(kcat(t, "", "-C", "-t", topic, "-e", "-q", "-o", "beginning", "-f", `%k %s %h\n`)), "\n")
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: kcat read %d lines, not the %d produced: %.200q", codec, len(got), len(want), got)
		}
	}
}

func TestIntegrationKcatListsQueriesAndJoins(t *testing.T) {
	peers.NeedIntegration(t)
	topic, group := create(t, 3, nil), name(t, "group")
	list := kcat(t, "", "-L", "-t", topic)
	if !strings.Contains(list, fmt.Sprintf("topic %q with 3 partitions", topic)) || !strings.Contains(list, "broker") {
		t.Errorf("kcat -L:\n%s", list)
	}
	kcat(t, "a\nb\nc\n", "-P", "-t", topic, "-p", "1")
	if out := kcat(t, "", "-Q", "-t", topic+":1:-1"); !strings.Contains(out, topic+" [1] offset 3") {
		t.Errorf("kcat -Q: %q", out)
	}
	if out := kcat(t, "", "-C", "-t", topic, "-p", "1", "-o", "1", "-c", "2", "-q"); out != "b\nc\n" {
		t.Errorf("kcat -C from offset 1: %q", out)
	}
	if out := kcat(t, "", "-G", group, topic, "-c", "3", "-q", "-X", "auto.offset.reset=earliest"); out != "a\nb\nc\n" {
		t.Errorf("kcat -G: %q", out)
	}
	kcat(t, "d\n", "-P", "-t", topic, "-p", "1", "-X", "transactional.id="+name(t, "tx"))
	if out := kcat(t, "", "-C", "-t", topic, "-p", "1", "-o", "beginning", "-e", "-q", "-X", "isolation.level=read_committed"); out != "a\nb\nc\nd\n" {
		t.Errorf("kcat after a transaction: %q", out)
	}
}
