package kafka

import (
	"errors"
	"reflect"
	"testing"
)

func TestPositionsSurviveTheirBytes(t *testing.T) {
	for _, p := range []position{
		{cluster: "c1", topic: "orders", next: []int64{0, 17, 1 << 40}},
		{topic: "x"},
	} {
		got, err := decodePosition(p.encode())
		if err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("expected %+v, found %+v, %v", p, got, err)
		}
	}
}

func TestADamagedPositionIsAnError(t *testing.T) {
	whole := (&position{cluster: "c1", topic: "orders", next: []int64{5, 6}}).encode()
	for n := range whole {
		if _, err := decodePosition(whole[:n]); !errors.Is(err, errPosition) {
			t.Errorf("cut to %d bytes: expected the error of a damaged position, found %v", n, err)
		}
	}
	if _, err := decodePosition(append(whole, 0)); !errors.Is(err, errPosition) {
		t.Errorf("with a byte too many: found %v", err)
	}
}

func FuzzPosition(f *testing.F) {
	f.Add((&position{cluster: "c1", topic: "orders", next: []int64{5, 6}}).encode())
	f.Add([]byte{1, 0, 0, 255, 255, 255, 255, 15})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodePosition(b)
		if err != nil {
			return
		}
		again, err := decodePosition(p.encode())
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Errorf("%x: decoded to %+v, which comes back as %+v, %v", b, p, again, err)
		}
	})
}
