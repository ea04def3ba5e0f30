package streams

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/millstream-io/millstream/streams/topology"
)

// check finds every mistake of the program.
func (b *Builder) check() error {
	errs := append([]error(nil), b.errs...)
	add := func(name string, err error) { errs = append(errs, &OperatorError{name, err}) }
	if err := checkName(b.name); err != nil {
		add("", fmt.Errorf("application name: %w", err))
	}
	names, topics := map[string]bool{}, map[string]string{}
	sources := 0
	for _, n := range b.nodes {
		for _, err := range n.errs {
			add(n.Name, err)
		}
		if names[n.Name] {
			add(n.Name, errors.New("another operator has this name: give one of them another with streams.Named"))
		}
		names[n.Name] = true
		if n.Kind != topology.Source {
			continue
		}
		sources++
		if first, ok := topics[n.Topic]; ok {
			add(n.Name, fmt.Errorf("topic %q is read by operator %q already: use its stream, with ToTable where a table is wanted", n.Topic, first))
		} else {
			topics[n.Topic] = n.Name
		}
	}
	if sources == 0 {
		add("", errors.New("the program reads nothing: it has no From"))
	}
	errs = append(errs, b.checkStores()...)
	errs = append(errs, b.checkCycles()...)
	errs = append(errs, b.checkPartitions()...)
	return errors.Join(errs...)
}

func (b *Builder) checkStores() (errs []error) {
	owner := map[string]string{}
	for _, n := range b.nodes {
		for _, s := range n.Stores {
			if first, ok := owner[s]; ok {
				errs = append(errs, &OperatorError{n.Name, fmt.Errorf("store %q belongs to operator %q already%s", s, first, b.formerOf(s))})
				continue
			}
			owner[s] = n.Name
		}
	}
	return append(errs, b.checkFormerNames(owner)...)
}

// formerOf explains a name that two stores are kept under, where one of them has
// it by FormerName.
func (b *Builder) formerOf(kept string) string {
	for _, s := range b.stores {
		if s.Name == kept && s.Alias != "" {
			return fmt.Sprintf(": it is the FormerName of %q", s.Alias)
		}
	}
	return ""
}

// checkFormerNames finds names that mean two stores: owner has the operators by
// the names under which their stores are kept.
func (b *Builder) checkFormerNames(owner map[string]string) (errs []error) {
	called := map[string]string{}
	for _, s := range b.stores {
		if first, ok := called[s.Called()]; ok && first != s.Name {
			errs = append(errs, &OperatorError{owner[s.Name], fmt.Errorf("store %q belongs to operator %q already", s.Called(), owner[first])})
		}
		called[s.Called()] = s.Name
	}
	for _, s := range b.stores {
		if s.Alias == "" {
			continue
		}
		if other, ok := called[s.Name]; ok && other != s.Name {
			errs = append(errs, &OperatorError{owner[s.Name], fmt.Errorf("FormerName: another store, of operator %q, is called %q now and was %q", owner[other], s.Name, other)})
		}
	}
	return errs
}

// checkCycles finds loops through topics, the only ones there can be: the input
// of such a program would never end.
func (b *Builder) checkCycles() (errs []error) {
	readers := map[string]*node{}
	for _, n := range b.nodes {
		if n.Kind == topology.Source && readers[n.topicKey()] == nil {
			readers[n.topicKey()] = n
		}
	}
	const open, done = 1, 2
	color := make([]int, len(b.nodes))
	var sinks []*node // on the way from where the search began
	var visit func(n *node)
	visit = func(n *node) {
		color[n.ID] = open
		next := slices.Concat(n.children, n.joins)
		if n.Kind == topology.Sink {
			sinks = append(sinks, n)
			defer func() { sinks = sinks[:len(sinks)-1] }()
			if r, ok := readers[n.topicKey()]; ok {
				next = []*node{r}
			}
		}
		for _, c := range next {
			switch color[c.ID] {
			case 0:
				visit(c)
			case open: // every way back leads through a topic, and the way here went from a sink to its reader
				s := sinks[len(sinks)-1]
				errs = append(errs, &OperatorError{s.Name, fmt.Errorf("cycle: it writes topic %q, which operator %q reads and which leads here", s.Topic, readers[s.topicKey()].Name)})
			}
		}
		color[n.ID] = done
	}
	for _, n := range b.nodes {
		if color[n.ID] == 0 {
			visit(n)
		}
	}
	return errs
}

func (n *node) topicKey() string {
	if n.Repartition {
		return "\x00" + n.Topic
	}
	return n.Topic
}

// checkPartitions finds state that is fed by repartition topics of different
// widths: one key would live in two tasks. Widths of the user's topics are known
// to the runtime only, which checks them at start.
func (b *Builder) checkPartitions() (errs []error) {
	for _, n := range b.nodes {
		if len(n.Stores) == 0 && !n.Join {
			continue
		}
		var first *node
		for _, s := range b.sourcesOf(n) {
			switch {
			case s.Partitions == 0:
			case first == nil:
				first = s
			case first.Partitions != s.Partitions:
				errs = append(errs, &OperatorError{n.Name, fmt.Errorf("its inputs are not co-partitioned: %q has %d partitions, %q has %d", first.Name, first.Partitions, s.Name, s.Partitions)})
			}
		}
	}
	return errs
}

// sourcesOf are the sources that n gets records from without a topic between.
func (b *Builder) sourcesOf(n *node) (out []*node) {
	up := b.upstream(n)
	for _, s := range b.nodes {
		if s.Kind == topology.Source && up[s.ID] {
			out = append(out, s)
		}
	}
	return out
}

// checkName holds names to what Kafka takes in a topic's name.
func checkName(name string) error {
	if name == "" {
		return errors.New("the name is empty")
	}
	if bad := strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"); bad != "" || name == "." || name == ".." {
		return fmt.Errorf("name %q: expected letters, digits, '.', '_' and '-'", name)
	}
	if len(name) > 150 {
		return fmt.Errorf("name %q: %d characters, expected at most 150", name, len(name))
	}
	return nil
}

func checkTopic(name string) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("topic: %w", err)
	}
	return nil
}
