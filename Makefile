# segmill. `make help` lists the targets; CI calls the same ones.

GO ?= go
SEED ?=
LONG ?=
export SEED LONG
# Pebble needs no C library; without one the build is the same everywhere.
export CGO_ENABLED ?= 0

.PHONY: help build demo test race lint fmt fuzz bench bench-smoke sim chaos mutations e2e hostile brokers clients containers fmt-check tidy-check deploy-check clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

build: ## build bin/segmill and bin/devkafka
	$(GO) build -trimpath -o bin/ ./cmd/...

demo: build ## the main job live in this terminal, nothing to install
	bin/segmill demo $(DEMO)

# Tests check what must hold at every step: see internal/invariants.
CHECKED = -tags segmill_invariants

test: ## every test that needs nothing but Go
	$(GO) vet $(CHECKED) ./...
	$(GO) test $(CHECKED) ./...

# Left out: what computes much in one goroutine, and what chaos does with RACE=1.
RACE_SKIPS = AgainstOracle|TestRecorded|TestChaos|ThirtyDays|ManyLargeBatches|CatchUp|LargeBatch|FloodOf|TestRights|FaultsChange|DiskErrors|FlippedBits|CrashLeaves
race: ## the tests of what runs concurrently, under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test $(CHECKED) -race -timeout 20m -skip '$(RACE_SKIPS)' ./consumer/... ./state/... ./internal/... ./schemas/...

SIM_TIME ?= 60s
sim: ## random histories against the naive oracle, SIM_TIME for each property; SEED=n repeats one
	SIM_TIME=$(SIM_TIME) $(GO) test -count=1 -timeout 30m ./internal/sim ./internal/shapes

SEEDS ?= 30
chaos: ## SEEDS random seeds of load and faults, judged by internal/checker; SEED=n repeats one, RACE=1 adds the race detector
	CHAOS_SEEDS=$(SEEDS) CGO_ENABLED=$(if $(RACE),1,0) $(GO) test $(CHECKED) $(if $(RACE),-race) -count=1 -timeout 60m -parallel 2 -v -run '^TestChaos$$' ./consumer/group

mutations: ## break the rules of the protocol and of time one by one; the tests must find every one (20 minutes; SHARE=n tries every nth, SEED=n the same again)
	MUTATIONS_SHARE=$(SHARE) $(GO) test -count=1 -tags mutations -parallel 2 -timeout 40m -v -run MutationsAreFound ./consumer/group

e2e: build ## processes over loopback: kills, freezes, full disks, an independent client (needs kcat; KILLS=n; 8 minutes)
	$(GO) test -count=1 -timeout 25m -tags e2e -v ./internal/e2e

hostile: build ## bad input, registries, topics, directories and commands against running processes (BROKERS=addresses or BROKERS=kafka; 2 minutes)
	SEGMILL_TEST_BROKERS=$(BROKERS) $(GO) test -count=1 -timeout 10m -tags hostile -parallel 6 -v ./internal/hostile

# What the tests have started ends with them, also at Ctrl-C: see internal/leash.
brokers: build ## real Kafka from Maven Central: brokers and instances killed under load (Java 17, Maven; 5 minutes; LONG=1 runs all versions)
	@java -version 2>&1 | head -1; mvn --version 2>/dev/null | head -1
	$(GO) test -count=1 -tags brokers -timeout $(if $(LONG),90m,20m) -parallel 30 -v ./internal/brokers
	$(if $(LONG),$(MAKE) hostile BROKERS=kafka)

clients: build ## other clients and registries on a real Kafka: Java, kcat, Python, Node, Connect, Apicurio (needs Java 17, Maven, Python, Node, kcat; 2 minutes)
	$(GO) test -count=1 -timeout 15m -tags brokers -v ./internal/brokers/judge ./internal/brokers/clients

containers: build ## against real brokers in containers; skipped, and said so, without a container engine
	@cd internal/containers && out=$$($(GO) test -count=1 -v ./... 2>&1); code=$$?; echo "$$out"; \
	echo "$$(echo "$$out" | grep -c -- '--- SKIP') container tests skipped"; exit $$code

# Built from source, and cached as everything that Go builds.
GOLANGCI = $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
lint: ## golangci-lint with the linters and formatters of .golangci.yml (its first build takes minutes)
	$(GOLANGCI) run

fmt: ## format everything as make lint wants it
	$(GOLANGCI) fmt

fmt-check: ## fail if a file is not gofmt-ed
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "not gofmt-ed:"; echo "$$out"; exit 1; fi

tidy-check: ## fail if go.mod is not tidy
	$(GO) mod tidy -diff

FUZZTIME ?= 20s
fuzz: ## every fuzz target for FUZZTIME each, two at a time
	@grep -ro --include='*_test.go' '^func Fuzz[A-Za-z0-9]*' . | sed 's#/[^/]*:func # #' | sort | \
	xargs -P 2 -L 1 sh -c 'out=$$($(GO) test -run "^$$" -fuzz "^$$1$$" -fuzztime $(FUZZTIME) -parallel 1 $$0 2>&1) && \
	  echo "$$0 $$1: $$(echo "$$out" | grep -o "execs: [0-9]*" | tail -1)" || { echo "$$0 $$1"; echo "$$out"; exit 255; }'

bench: ## benchmarks, ten runs each, for benchstat
	$(GO) test -run '^$$' -bench . -benchmem -count 10 ./engine/... ./schemas/... ./state/...

bench-smoke: ## the engine beside the yardsticks, small: do they emit the same changes? (half a minute)
	$(GO) run ./bench/throughput -matrix -events 50000 -customers 5000 -rounds 2

deploy-check: ## check alert rules with promtool, the compose file and the Kubernetes manifests, where the tools are installed
	sh deploy/check.sh

clean: ## remove what was built
	rm -rf bin
