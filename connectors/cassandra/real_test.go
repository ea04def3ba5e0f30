package cassandra

import (
	"testing"
)

type total struct {
	Product string `cql:"product,key" json:"-"`
	Day     int32  `cql:"day,cluster" json:"day"`
	Sum     int64  `json:"sum"`
	Note    string `cql:"note,omitempty" json:"note"`
}

func TestIntegrationASumThatFallsEndsAtTheLastOne(t *testing.T) {
	c := realCluster(t)
	totals := TableOf[total]("totals")
	s := c.open(c.config(totals, FromKeyValue(totals, nil, nil, func(k string, v total) total { v.Product = k; return v })))
	up := rec(7, "tea", `{"sum":100}`)
	down := rec(8, "tea", `{"sum":90}`)
	write(t, s, up)
	write(t, s, down)
	write(t, s, up)
	got := c.rows("SELECT sum, writetime(sum) AS ts FROM KS.totals")
	if len(got) != 1 || got[0]["sum"] != int64(90) || got[0]["ts"] != int64(createdMS*1000+8) {
		t.Fatal(got)
	}
	write(t, s, rec(9, "tea", ""))
	write(t, s, down)
	if got := c.rows("SELECT sum FROM KS.totals"); len(got) != 0 {
		t.Fatal(got)
	}
}
