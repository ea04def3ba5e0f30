package console

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/connectors"
	"github.com/millstream-io/millstream/connectors/connectortest"
	"github.com/millstream-io/millstream/log/record"
)

// terminal is a writer that can fail.
type terminal struct {
	bytes.Buffer
	down bool
}

func (w *terminal) Write(p []byte) (int, error) {
	if w.down {
		return 0, errors.New("the terminal is gone")
	}
	return w.Buffer.Write(p)
}

func TestTheContractOfASink(t *testing.T) {
	connectortest.SinkSuite{
		Target: func(testing.TB) connectortest.SinkTarget {
			w := &terminal{}
			format := func(dst []byte, r *connectors.Record) ([]byte, error) {
				if bytes.HasPrefix(r.Value, []byte("poison")) {
					return append(dst, "half of"...), errors.New("not to be printed")
				}
				return Values(dst, r)
			}
			return connectortest.SinkTarget{
				Sink:    func(testing.TB) connectors.Sink { return New(Config{Writer: w, Format: format}) },
				Written: func(testing.TB) []string { return strings.Fields(w.String()) },
				SetDown: func(down bool) { w.down = down },
			}
		},
		Record: func(n int) (connectors.Record, string) {
			name := fmt.Sprint("line-", n)
			return connectors.Record{View: record.View{Value: []byte(name)}}, name
		},
		Poison: func(n int) connectors.Record {
			return connectors.Record{View: record.View{Value: fmt.Append(nil, "poison", n)}}
		},
	}.Run(t)
}
