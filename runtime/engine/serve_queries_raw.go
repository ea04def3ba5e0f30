package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/millstream-io/millstream/runtime/internal/task"
)

// raw answers another instance, for tasks that run here only: what it is asked
// about others it does not pass on.
func (h *storesHandler) raw(a *answer, r *http.Request) error {
	if version := r.PathValue("version"); version != rawVersion {
		return &requestError{http.StatusNotFound, fmt.Sprintf("version %q of the questions of instances, expected %s: the instances run different versions of Millstream", version, rawVersion)}
	}
	if kind := r.Header.Get("Content-Type"); kind != rawContent {
		return &requestError{http.StatusUnsupportedMediaType, "content type " + strconv.Quote(kind) + ", expected " + rawContent}
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, rawQuestionMost+1))
	if err != nil {
		return badRequest("read the question: %v", err)
	}
	if len(b) > rawQuestionMost {
		return &requestError{http.StatusRequestEntityTooLarge, fmt.Sprintf("a question of more than %d bytes", rawQuestionMost)}
	}
	ask, err := decodeQuestion(b)
	if err != nil {
		return badRequest("the question: %v", err)
	}
	if ask.app != h.e.plan.App {
		return &requestError{http.StatusConflict, fmt.Sprintf("this is application %s, not %s: Config.Advertise of the instance that was asked is wrong", h.e.plan.App, ask.app)}
	}
	q := h.e.Query(r.Context())
	q.localOnly = true
	v, err := q.StoreView(r.PathValue("store"))
	if err != nil {
		return err
	}
	return v.answerRaw(a, ask)
}

// answerRaw writes the answer to a question. Whether its tasks are here is settled
// before the first byte.
func (v *StoreView) answerRaw(a *answer, ask question) error {
	holders := map[int32]holder{}
	for _, p := range ask.partitions {
		if p >= v.tasks {
			return badRequest("task %d of %d: the instances run different versions of the program", p, v.tasks)
		}
		at, err := v.locate(v.task(p))
		if err != nil {
			return v.failed(err)
		}
		if at.remote {
			return v.failed(errElsewhere)
		}
		holders[p] = at
	}
	a.kind = rawContent
	f := &frameWriter{w: a}
	a.broken = func(err error) { f.frame(frameError, []byte(err.Error())) }
	began := func(p int32) func(task.Committed) {
		return func(c task.Committed) {
			t := answerOf(v.task(p), holders[p], c)
			f.task(taskFrame{p, t.StreamTimeMS, t.Positions})
		}
	}
	var err error
	switch ask.op {
	case rawGet:
		err = v.answerGet(f, ask, holders, began)
	case rawScan:
		err = v.answerScan(f, ask, holders[ask.partitions[0]], began)
	default:
		for _, p := range ask.partitions {
			began(p)(holders[p].here.Committed())
		}
	}
	if err != nil {
		return v.failed(err)
	}
	return f.frame(frameEnd, nil)
}

func (v *StoreView) answerGet(f *frameWriter, ask question, holders map[int32]holder, began func(int32) func(task.Committed)) error {
	for _, p := range ask.partitions {
		value, ok, at, err := holders[p].here.Get(v.index, ask.key, nil)
		if err != nil {
			return err
		}
		began(p)(at)
		if ok {
			return f.entry(ask.key, value)
		}
	}
	return f.err
}

func (v *StoreView) answerScan(f *frameWriter, ask question, at holder, began func(int32) func(task.Committed)) error {
	n := uint64(0)
	err := at.here.Range(v.index, ask.in.from, ask.in.to, began(ask.partitions[0]), func(key, value []byte) bool {
		if ask.in.plain != nil && !isWindowOf(key, ask.in.plain) {
			return v.ctx.Err() == nil
		}
		n++
		return f.entry(key, value) == nil && n != ask.in.limit && v.ctx.Err() == nil
	})
	return errors.Join(err, f.err, context.Cause(v.ctx))
}
