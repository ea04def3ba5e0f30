package main

import (
	"io"
	"strconv"
	"testing"
)

// BenchmarkOrders runs the whole program, files to rows, on 200,000 orders.
func BenchmarkOrders(b *testing.B) {
	const orders = 200_000
	dir := b.TempDir()
	if err := generate(dir, orders, 1); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		args := []string{"-orders", dir + "/orders.jsonl", "-customers", dir + "/customers.csv", "-workers", strconv.Itoa(2)}
		if code := run(b.Context(), args, stdio{io.Discard, io.Discard}); code != 0 {
			b.Fatalf("exit code %d", code)
		}
	}
	b.ReportMetric(orders*float64(b.N)/b.Elapsed().Seconds(), "orders/s")
}
