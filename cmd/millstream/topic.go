package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

func newTopic() *cobra.Command {
	return verbOf("topic", "Create, list, describe, alter and delete topics of any Kafka-protocol broker", "verb of topic",
		newTopicCreate(), newTopicList(), newTopicDescribe(), newTopicAlter(), newTopicDelete())
}

func newTopicCreate() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "create TOPIC...",
		Short:   "Create topics",
		Example: "  millstream topic create orders --partitions 6 -c cleanup.policy=compact",
		Args:    atLeastOne("the names of the topics"),
		RunE:    runTopicCreate,
	}
	addClientSettings(cmd)
	cmd.Flags().Int32P("partitions", "p", -1, "number of partitions; -1: the broker's default")
	cmd.Flags().Int16("replicas", -1, "replicas of each partition; -1: the broker's default")
	cmd.Flags().StringArrayP("set", "c", nil, "configuration NAME=VALUE, as Kafka names them; may be repeated")
	cmd.Flags().Bool("if-not-exists", false, "a topic that exists already is fine")
	cmd.Flags().Bool("dry-run", false, "only ask the broker whether it would")
	return cmd
}

// createdTopic is a line of `topic create -o json`.
type createdTopic struct {
	Topic      string `json:"topic"`
	ID         string `json:"id,omitempty"`
	Partitions int32  `json:"partitions,omitempty"`
	Replicas   int16  `json:"replicas,omitempty"`
	Created    bool   `json:"created"`
}

func runTopicCreate(cmd *cobra.Command, names []string) error {
	flags := cmd.Flags()
	partitions, _ := flags.GetInt32("partitions")
	replicas, _ := flags.GetInt16("replicas")
	fine, _ := flags.GetBool("if-not-exists")
	dry, _ := flags.GetBool("dry-run")
	set, _ := flags.GetStringArray("set")
	configs := map[string]*string{}
	for _, kv := range set {
		name, value, err := assignment("--set", kv)
		if err != nil {
			return err
		}
		configs[name] = &value
	}
	c, err := connect(cmd)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := c.within(cmd.Context())
	defer cancel()
	create := c.admin.CreateTopics
	if dry {
		create = c.admin.ValidateCreateTopics
	}
	answers, err := create(ctx, partitions, replicas, configs, names...)
	if err != nil {
		return c.explain(err)
	}
	created := []createdTopic{}
	var made []string
	var errs []error
	for _, name := range names {
		switch r := answers[name]; {
		case r.Err == nil:
			made = append(made, name)
			created = append(created, createdTopic{r.Topic, idText(r.ID), r.NumPartitions, r.ReplicationFactor, !dry})
		case fine && errors.Is(r.Err, kerr.TopicAlreadyExists):
			created = append(created, createdTopic{Topic: r.Topic})
		default:
			errs = append(errs, refused("topic", r.Topic, r.Err, r.ErrMessage))
		}
	}
	if !dry {
		c.heard(ctx, made, true)
	}
	err = render(cmd, created, func(line row) {
		for _, t := range created {
			switch {
			case dry:
				line(fmt.Sprintf("topic %s would be created", t.Topic))
			case t.Created:
				line(fmt.Sprintf("created topic %s with %d partitions", t.Topic, t.Partitions))
			default:
				line(fmt.Sprintf("topic %s exists", t.Topic))
			}
		}
	})
	return errors.Join(append(errs, err)...)
}

// idText is a topic id as Kafka's tools print it; "" for none.
func idText(id kadm.TopicID) string {
	if id == (kadm.TopicID{}) {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// assignment splits NAME=VALUE.
func assignment(flag, kv string) (name, value string, err error) {
	name, value, ok := strings.Cut(kv, "=")
	if !ok || name == "" {
		return "", "", usagef("%s %q: expected NAME=VALUE", flag, kv)
	}
	return name, value, nil
}

// refused is a broker's answer about one thing, in one line.
func refused(kind, name string, err error, message string) error {
	var e *kerr.Error
	switch {
	case message != "" && errors.As(err, &e):
		return fmt.Errorf("%s %s: %s (%s)", kind, name, strings.ReplaceAll(message, "\n", " "), e.Message)
	case errors.As(err, &e):
		return fmt.Errorf("%s %s: %s (%s)", kind, name, strings.TrimSuffix(e.Description, "."), e.Message)
	}
	return fmt.Errorf("%s %s: %w", kind, name, err)
}

func newTopicList() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List topics",
		Example: "  millstream topic list --brokers broker:9092 -o json",
		Args:    exactly(0, "no arguments"),
		RunE:    runTopicList,
	}
	addClientSettings(cmd)
	cmd.Flags().Bool("internal", false, "the broker's own topics too")
	return cmd
}

// listedTopic is an element of `topic list -o json`.
type listedTopic struct {
	Topic      string `json:"topic"`
	ID         string `json:"id,omitempty"`
	Partitions int    `json:"partitions"`
	Replicas   int    `json:"replicas"`
	Internal   bool   `json:"internal"`
	Records    int64  `json:"offsets"` // between the starts and the ends of its partitions; compaction and markers leave fewer records
}

func runTopicList(cmd *cobra.Command, _ []string) error {
	internal, _ := cmd.Flags().GetBool("internal")
	c, err := connect(cmd)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := c.within(cmd.Context())
	defer cancel()
	list := c.admin.ListTopics
	if internal {
		list = c.admin.ListTopicsWithInternal
	}
	topics, err := list(ctx)
	if err != nil {
		return c.explain(err)
	}
	starts, ends, err := c.bounds(ctx, topics.Names())
	if err != nil {
		return err
	}
	listed := []listedTopic{}
	for _, t := range topics.Sorted() {
		if t.Err != nil {
			continue
		}
		l := listedTopic{Topic: t.Topic, ID: idText(t.ID), Partitions: len(t.Partitions), Replicas: t.Partitions.NumReplicas(), Internal: t.IsInternal}
		for p := range t.Partitions {
			l.Records += ends[t.Topic][p].Offset - starts[t.Topic][p].Offset
		}
		listed = append(listed, l)
	}
	return render(cmd, listed, func(line row) {
		line("TOPIC", "PARTITIONS", "REPLICAS", "OFFSETS")
		for _, t := range listed {
			line(t.Topic, t.Partitions, t.Replicas, t.Records)
		}
	})
}

// newTopicDelete is `topic delete`.
func newTopicDelete() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "delete TOPIC...",
		Short:   "Delete topics with their records",
		Example: "  millstream topic delete orders",
		Args:    atLeastOne("the names of the topics"),
		RunE:    runTopicDelete,
	}
	addClientSettings(cmd)
	cmd.Flags().Bool("if-exists", false, "a topic that does not exist is fine")
	return cmd
}

// deletedTopic is an element of `topic delete -o json`.
type deletedTopic struct {
	Topic   string `json:"topic"`
	Deleted bool   `json:"deleted"`
}

func runTopicDelete(cmd *cobra.Command, names []string) error {
	fine, _ := cmd.Flags().GetBool("if-exists")
	c, err := connect(cmd)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := c.within(cmd.Context())
	defer cancel()
	answers, err := c.admin.DeleteTopics(ctx, names...)
	if err != nil {
		return c.explain(err)
	}
	deleted := []deletedTopic{}
	var gone []string
	var errs []error
	for _, name := range names {
		r := answers[name]
		switch missing := errors.Is(r.Err, kerr.UnknownTopicOrPartition); {
		case r.Err == nil, missing && fine:
			gone = append(gone, name)
			deleted = append(deleted, deletedTopic{r.Topic, !missing})
		case missing:
			errs = append(errs, c.unknownTopic(cmd.Context(), r.Topic, r.Err))
		default:
			errs = append(errs, refused("topic", r.Topic, r.Err, r.ErrMessage))
		}
	}
	c.heard(ctx, gone, false)
	err = render(cmd, deleted, func(line row) {
		for _, t := range deleted {
			if t.Deleted {
				line(fmt.Sprintf("deleted topic %s", t.Topic))
			} else {
				line(fmt.Sprintf("topic %s does not exist", t.Topic))
			}
		}
	})
	return errors.Join(append(errs, err)...)
}
