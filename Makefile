# What needs only Go: demo test race lint fuzz bench examples. What needs Java and
# Maven: demo-cassandra. What also needs them, and skips without: integration (INTEGRATION=require makes a skip a
# failure). docs/TESTING.md tells what each rung of the ladder proves.
export GOTOOLCHAIN := auto

GO      ?= go
SHELL   := bash
FUZZTIME ?= 10s
EXAMPLES := orders wordcount chat event-sourcing iot log-aggregation cassandra-etl syslog-alerts
RACEFLAGS := -gcflags=github.com/leodido/go-syslog/v4/...=-race=false

.PHONY: all demo demo-cassandra test race integration conformance torture fuzz bench bench-peers bench-streams lint format vet staticcheck examples $(EXAMPLES:%=example-%) ci build

all: build

build:
	$(GO) build -trimpath -o bin/millstream ./cmd/millstream

demo:
	@echo "First run: Go downloads its toolchain (about 75 MB) and the modules, then builds; later runs start at once."
	$(GO) run ./examples/syslog-alerts -demo

# A real Cassandra 5 from Maven (Java 17, 1.4 GB of memory), and the ETL job into it.
demo-cassandra:
	$(GO) run ./internal/peers/cmd/cassandra -- $(GO) run ./examples/cassandra-etl -cassandra {} -create-schema

# INTEGRATION is for `make integration` alone, also where CI sets it.
test:
	INTEGRATION= $(GO) test ./...

# Without the package at the root, whose tests read files and run the Go tool,
# without the examples, whose parts are here, without the pure cores and the programs
# of the tests, and without what one goroutine does to every byte or to a lot of data.
# The parser that a state machine compiler wrote takes most of a minute to compile
# for it, and shares nothing; GOGC and -vet=off (lint has looked) save minutes, too.
race:
	@export INTEGRATION=; packages=$$($(GO) list ./... | grep -vxE '[^/]+/[^/]+/millstream(/(examples|internal)/.*|/log/internal/(group|txn)|/runtime/internal/(assign|plan))?'); \
	  echo 'go build -race; go test -race -short'; \
	  GOGC=400 $(GO) build -race $(RACEFLAGS) $$packages && \
	  $(GO) test -race $(RACEFLAGS) -vet=off -short -skip 'Flip|DamagedFrames|ScannersAgree|CompressedBatchesAreRead|Checkpoint10MB' $$packages

# V=1 tells each test, with its figures.
integration:
	$(GO) run ./internal/peers/cmd/integration $(if $(V),-v)

# Other projects' suites, whole, against `millstream serve`: franz-go's, also with
# connections cut at random, and kafka-go's, on localhost:9092 and 9093.
conformance:
	$(GO) run ./internal/peers/cmd/conformance

torture:
	set -o pipefail; TORTURE=1 $(GO) test -count=1 -timeout 120m -v -run 'Torture' ./... | grep -v '^=== \|no test files\|no tests to run'
	TORTURE=1 $(GO) test -count=1 -timeout 60m -v -tags plantedbugs -run 'TorturePlantedBugs' ./runtime/engine

fuzz:
	@set -e; for f in $$(grep -rl --include='*_test.go' '^func Fuzz' .); do \
	  for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' $$f); do \
	    echo "== $$(dirname $$f) $$name"; \
	    $(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) $$(dirname $$f); \
	  done; \
	done

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./log/... ./streams/... ./runtime/...
	$(GO) run ./cmd/millstream bench count -o json
	$(GO) run ./cmd/millstream bench count -o json --groupby
	$(GO) run ./cmd/millstream bench count -o json --keys 1000000

# Apache Kafka from Maven beside `millstream serve`: docs/benchmarks.md. About
# twenty minutes, on a machine with nothing else to do.
bench-peers:
	$(GO) run ./internal/peers/cmd/bench-peers

# Kafka Streams beside Millstream, on one Apache Kafka broker: docs/benchmarks.md.
bench-streams:
	$(GO) run ./internal/peers/cmd/bench-streams

lint: format vet staticcheck
	INTEGRATION= $(GO) test .

format:
	@out=$$($$($(GO) env GOROOT)/bin/gofmt -l .); if [ -n "$$out" ]; then echo "not formatted (gofmt -w):"; echo "$$out"; exit 1; fi

vet:
	GOGC=400 $(GO) vet ./...

staticcheck:
	GOGC=400 $(GO) tool staticcheck ./...

examples: $(EXAMPLES:%=example-%)

$(EXAMPLES:%=example-%): example-%:
	$(GO) run ./examples/$* $(if $(filter syslog-alerts,$*),-demo)

ci: lint test race integration
	$(MAKE) -O -j2 examples
