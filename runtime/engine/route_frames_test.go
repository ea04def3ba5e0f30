package engine

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

func someQuestions() []question {
	return []question{
		{op: rawGet, app: "app", partitions: []int32{3, 0, 2}, key: []byte("key\x00")},
		{op: rawGet, app: "app", partitions: []int32{0}, key: []byte{}},
		{op: rawScan, app: "app", partitions: []int32{1}, in: span{}},
		{op: rawScan, app: "app", partitions: []int32{1}, in: span{from: []byte{}, to: []byte("z"), plain: []byte{}, limit: 7}},
		{op: rawCommit, app: "", partitions: []int32{5}},
	}
}

func TestQuestionsSurviveTheWay(t *testing.T) {
	for _, q := range someQuestions() {
		b := q.append(nil)
		got, err := decodeQuestion(b)
		if err != nil || !reflect.DeepEqual(got, q) {
			t.Errorf("%+v became %+v, %v", q, got, err)
		}
		for i := range b {
			if _, err := decodeQuestion(b[:i]); err == nil {
				t.Errorf("%+v cut off after %d of %d bytes is taken for whole", q, i, len(b))
			}
		}
		if _, err := decodeQuestion(append(b, 0)); err == nil {
			t.Errorf("%+v with a byte after it is taken", q)
		}
	}
}

// frames reads an answer to its end.
func frames(b []byte) (text string, err error) {
	f := frameReader{r: bufio.NewReader(bytes.NewReader(b))}
	for {
		kind, body, err := f.next()
		if err != nil {
			return text, err
		}
		text += string(kind) + string(body) + ";"
		if kind == frameTask {
			if _, err := decodeTask(body); err != nil {
				return text, err
			}
		} else if _, _, err := splitEntry(body); err != nil {
			return text, err
		}
	}
}

func TestAnAnswerThatWasCutOffIsNotTakenForWhole(t *testing.T) {
	var out bytes.Buffer
	f := frameWriter{w: &out}
	f.task(taskFrame{partition: 2, timeMS: -1 << 63, positions: []InputOffset{{"topic", 2, 1 << 40}}})
	f.entry([]byte("key"), []byte("value"))
	f.entry(nil, nil)
	whole := len(out.Bytes())
	f.frame(frameEnd, nil)
	if _, err := frames(out.Bytes()); err != io.EOF {
		t.Errorf("a whole answer: %v", err)
	}
	for i := range out.Bytes() {
		if _, err := frames(out.Bytes()[:i]); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut off after %d of %d bytes: %v", i, out.Len(), err)
		}
	}
	out.Truncate(whole)
	f.frame(frameError, []byte("disk"))
	if _, err := frames(out.Bytes()); err == nil || !strings.Contains(err.Error(), "disk") {
		t.Errorf("an answer that ends with an error: %v", err)
	}
}

func FuzzQuestion(f *testing.F) {
	for _, q := range someQuestions() {
		f.Add(q.append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := decodeQuestion(b)
		if err != nil {
			return
		}
		again, err := decodeQuestion(q.append(nil))
		if err != nil || !reflect.DeepEqual(q, again) {
			t.Errorf("%+v became %+v, %v", q, again, err)
		}
	})
}

func FuzzAnswerFrames(f *testing.F) {
	var out bytes.Buffer
	w := frameWriter{w: &out}
	w.task(taskFrame{positions: []InputOffset{{"topic", 2, 1 << 40}}})
	w.entry([]byte("key"), []byte("value"))
	w.frame(frameEnd, nil)
	f.Add(out.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := frames(b); err == nil {
			t.Error("an answer without an end")
		}
	})
}
