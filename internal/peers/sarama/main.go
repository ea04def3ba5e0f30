// Command sarama carries out what a Go test asks of IBM's sarama client: one JSON
// object a line on standard input, its answer on standard output. Its one
// argument is the broker's address. The operations are those of the interface
// `client` in log/wire/clients.
//
// It is a module of its own: only tests need sarama, and a requirement in the
// root's go.mod would reach everybody who imports Millstream.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/IBM/sarama"
)

// patience bounds every wait.
const patience = 90 * time.Second

// record is a record as tests write it; []byte is base64 in JSON, null for nil.
type record struct {
	Partition int32    `json:"p"`
	Offset    int64    `json:"o"`
	Time      int64    `json:"t"` // milliseconds
	Key       []byte   `json:"k"`
	Value     []byte   `json:"v"`
	Headers   []header `json:"h"`
}

type header struct {
	Key   string `json:"k"`
	Value []byte `json:"v"`
}

type driver struct {
	brokers []string
	members map[string]*member
}

func main() {
	d := &driver{brokers: os.Args[1:], members: map[string]*member{}}
	in, out := bufio.NewReader(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var request struct {
			Op   string
			Args json.RawMessage
		}
		answer := map[string]any{}
		if err = json.Unmarshal(line, &request); err == nil {
			answer["result"], err = d.answer(request.Op, request.Args)
		}
		if err != nil {
			answer = map[string]any{"error": err.Error()}
		}
		if err := out.Encode(answer); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return
		}
	}
}

func (d *driver) answer(op string, args json.RawMessage) (any, error) {
	operation, ok := operations[op]
	if !ok {
		return nil, fmt.Errorf("no operation %s", op)
	}
	return operation(d, args)
}

// operations decode their arguments and answer.
var operations = map[string]func(*driver, json.RawMessage) (any, error){
	"produce": with((*driver).produce), "read": with((*driver).read), "transact": with((*driver).transact), "fence": with((*driver).fence), "relay": with((*driver).relay),
	"join": with((*driver).join), "members": with((*driver).states), "leave": with((*driver).leave),
	"create": with((*driver).create), "describe": with((*driver).describe), "alter": with((*driver).alter), "grow": with((*driver).grow),
	"trim": with((*driver).trim), "drop": with((*driver).drop), "topics": with((*driver).topics), "offset": with((*driver).offset),
	"groups": with((*driver).groups), "group": with((*driver).group), "committed": with((*driver).committed), "forget": with((*driver).forget),
}

func with[A any](f func(*driver, A) (any, error)) func(*driver, json.RawMessage) (any, error) {
	return func(d *driver, raw json.RawMessage) (any, error) {
		var a A
		if err := json.Unmarshal(raw, &a); err != nil {
			return nil, err
		}
		return f(d, a)
	}
}

func config() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.MaxVersion
	c.Producer.Return.Successes = true
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = false
	c.Consumer.Return.Errors = true
	return c
}
