# Everything needs Go 1.26 (go.dev/dl); the other tools are fetched by Go itself, at the versions below, into .tools.
# `make` lists the targets.

GOLANGCI_LINT := v2.15.0
BUF           := v1.75.0
PROTOC_GEN_GO := v1.36.12
GOFUMPT       := v0.12.0

SEEDS    ?= 2000
FUZZTIME ?= 10s
ROUNDS   ?= 10
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null)

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

TOOLS := $(CURDIR)/.tools
export PATH := $(TOOLS)/bin:$(PATH)
HANDWRITTEN = $$(git ls-files --cached --others --exclude-standard '*.go' | grep -v '\.pb\.go$$')

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: run
run: build ## start the service on this machine, with no configuration needed
	@exec bin/carillon serve

.PHONY: cluster
cluster: build ## start three nodes and a private PostgreSQL on this machine (needs PostgreSQL installed)
	@exec bin/carillon cluster

.PHONY: demo
demo: build ## watch a three-user call play by itself
	@exec bin/carillon demo

.PHONY: build
build: go ## build bin/carillon
	@go build -trimpath -ldflags "-X main.version=$(VERSION)" -o bin/carillon ./cmd/carillon

.PHONY: test
test: c-compiler generated lint ## all that CI runs: generated code, lint, vet, tests with the race detector, simulator
	go vet ./...
	go test -race -timeout 12m -skip '^TestCluster$$' ./...
	go test -race -timeout 12m -run '^TestCluster$$' ./cmd/carillon # by itself: it is about time
	@$(MAKE) --no-print-directory sim

.PHONY: sim
sim: go ## run the simulator over SEEDS seeds (2000)
	go test ./actors -run 'TestSimulator$$' -count=1 -timeout 0 -v -sim.seeds=$(SEEDS)

.PHONY: chaos
chaos: c-compiler ## kill, stop, cut off and restart real nodes under load, ROUNDS times (10)
	CARILLON_CHAOS_ROUNDS=$(ROUNDS) go test -race ./cmd/carillon -run 'TestCluster$$' -count=1 -timeout 0 -v

.PHONY: bench
bench: go ## measure the figures that count, with their targets, in five minutes (ONLY=setup,idle: a part)
	go run ./loadtest bench $(if $(ONLY),-only $(ONLY))

.PHONY: microbench
microbench: go ## print the benchmarks of single packages
	go test -run '^$$' -bench . -benchmem ./...

.PHONY: fuzz
fuzz: go ## fuzz every target for FUZZTIME (10s)
	@for package in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "$$package $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package; \
		done; \
	done

.PHONY: proto
proto: $(TOOLS)/buf@$(BUF) $(TOOLS)/protoc-gen-go@$(PROTOC_GEN_GO) ## generate transport/wire from its .proto files
	buf generate

.PHONY: generated
generated: $(TOOLS)/buf@$(BUF) $(TOOLS)/protoc-gen-go@$(PROTOC_GEN_GO) # transport/wire must be what its .proto files say
	@fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; \
	buf generate -o "$$fresh"; \
	for made in "$$fresh"/transport/wire/*.pb.go; do \
		cmp "$$made" "transport/wire/$${made##*/}" || { echo "transport/wire is not what its .proto files generate: run make proto and commit"; exit 1; }; \
	done; \
	echo "generated code is up to date"

.PHONY: lint
lint: $(TOOLS)/golangci-lint@$(GOLANGCI_LINT) $(TOOLS)/buf@$(BUF) ## lint Go and the wire contract
	buf lint
	golangci-lint run --allow-parallel-runners ./...

.PHONY: fmt
fmt: $(TOOLS)/gofumpt@$(GOFUMPT) ## format the Go files
	gofumpt -w $(HANDWRITTEN)

.PHONY: clean
clean: ## remove what was built; the data directory stays
	rm -rf bin
	if command -v go >/dev/null; then go clean -testcache; fi

.PHONY: go
go:
	@command -v go >/dev/null || { echo "Carillon is built with Go 1.26 or later, which is not installed here: get it from https://go.dev/dl/ and put its bin directory into PATH"; exit 1; }

.PHONY: c-compiler
c-compiler: go
	@command -v "$$(go env CC)" >/dev/null || { echo "Go's race detector needs a C compiler, which is not installed here: install gcc (Debian, Ubuntu: apt install gcc libc6-dev) or set CC"; exit 1; }

# Each tool leaves a file with its version in the name, so that a new version above installs anew.
$(TOOLS)/golangci-lint@$(GOLANGCI_LINT): PACKAGE = github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(TOOLS)/buf@$(BUF): PACKAGE = github.com/bufbuild/buf/cmd/buf
$(TOOLS)/protoc-gen-go@$(PROTOC_GEN_GO): PACKAGE = google.golang.org/protobuf/cmd/protoc-gen-go
$(TOOLS)/gofumpt@$(GOFUMPT): PACKAGE = mvdan.cc/gofumpt
$(TOOLS)/%: | go
	@mkdir -p $(TOOLS)/bin
	GOBIN=$(TOOLS)/bin go install $(PACKAGE)@$(lastword $(subst @, ,$*))
	@rm -f $(TOOLS)/$(firstword $(subst @, ,$*))@* && touch $@
