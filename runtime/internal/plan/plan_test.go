package plan_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/runtime/internal/plan"
	"github.com/millstream-io/millstream/streams/state"
	"github.com/millstream-io/millstream/streams/topology"
)

var rewrite = flag.Bool("rewrite", false, "write the goldens anew")

// graph reads a topology from lines like the ones in testdata:
//
//	source NAME TOPIC | source NAME TOPIC repartition [partitions]
//	op NAME PARENT,... [store]
//	join NAME STREAM,TABLE
//	sink NAME PARENT TOPIC [repartition [partitions]]
func graph(t *testing.T, text string) (*topology.Topology, map[string]int32) {
	t.Helper()
	topo := &topology.Topology{Name: "app"}
	ids, counts := map[string]topology.NodeID{}, map[string]int32{}
	for _, l := range strings.Split(strings.TrimSpace(text), "\n") {
		f := strings.Fields(l)
		n := topology.Node{ID: topology.NodeID(len(topo.Nodes)), Name: f[1], Verb: f[0]}
		parents := ""
		switch f[0] {
		case "topic":
			counts[f[1]] = int32(f[2][0] - '0')
			continue
		case "source":
			n.Kind, n.Topic = topology.Source, f[2]
			f = f[3:]
		case "sink":
			n.Kind, n.Topic, parents = topology.Sink, f[3], f[2]
			f = f[4:]
		case "join":
			n.Kind, parents, n.Join = topology.Operator, f[2], true
			f = nil
		case "op":
			n.Kind, parents = topology.Operator, f[2]
			if len(f) > 3 {
				n.Stores = []string{f[3]}
				topo.Stores = append(topo.Stores, state.Spec{Name: f[3], Changelog: true})
			}
			f = nil
		}
		for _, p := range strings.Split(parents, ",") {
			if p != "" {
				n.Parents = append(n.Parents, ids[p])
			}
		}
		if len(f) > 0 && f[0] == "repartition" {
			n.Repartition = true
			if len(f) > 1 {
				n.Partitions = int32(f[1][0] - '0')
			}
		}
		ids[n.Name] = n.ID
		topo.Nodes = append(topo.Nodes, n)
	}
	return topo, counts
}

// Each file of testdata is a graph, a line "----", and the plan or the errors.
func TestPlans(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			in, want, _ := strings.Cut(string(b), "----\n")
			topo, counts := graph(t, in)
			got := ""
			cut, err := plan.NewCut(topo)
			if err == nil {
				var p *plan.Plan
				if p, err = cut.Make(counts); err == nil {
					got = p.Describe()
				}
			}
			if err != nil {
				got = "error: " + err.Error() + "\n"
			}
			if *rewrite {
				if err := os.WriteFile(name, []byte(in+"----\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("the plan is\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestTopicsThatMeetAreKnownBeforeTheyExist(t *testing.T) {
	topo, _ := graph(t, "source a a\nsource b b\nsource c c\nsource d d\nop tb b tb\nop tc c tc\njoin x a,tb\njoin y x,tc\nop td d td")
	cut, err := plan.NewCut(topo)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(cut.Copartitioned()); got != "[[a b c]]" {
		t.Errorf("co-partitioned: %s, want [[a b c]]", got)
	}
}

func TestUpstreamTasksOfARepartitionTopicAreItsTimeInputs(t *testing.T) {
	topo, counts := graph(t, "topic a 3\nsource s a\nsink w s r repartition 2\nsource r r repartition 2\nop count r counts")
	cut, err := plan.NewCut(topo)
	if err != nil {
		t.Fatal(err)
	}
	p, err := cut.Make(counts)
	if err != nil {
		t.Fatal(err)
	}
	up := p.Subs[1].Inputs[0].Upstream
	if len(up) != 3 || up[2] != (plan.TaskID{Sub: 0, Partition: 2}) || p.Subs[1].Tasks != 2 {
		t.Errorf("upstream %v of %d tasks, want 0_0 0_1 0_2 of 2 tasks", up, p.Subs[1].Tasks)
	}
}
