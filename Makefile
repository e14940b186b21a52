# Every target with two hashes behind it is listed by `make help`.

GO      ?= go
GOVULNCHECK = v1.9.0
GOLANGCI = v2.15.0
FUZZTIME ?= 30s
FOR     ?= 1h
VERSION ?= 0.1.0
COMMIT  ?= $(shell git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null || echo unknown)

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  \033[1m%-14s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## start a server with an embedded Redis; MODE=idiomatic make run: the other engine
	CLIENT_PUBLISH=$${CLIENT_PUBLISH:-true} $(GO) run .

# Tests wait for conditions, so packages run beside each other, and more tests of a
# package than there are CPUs: much of their time is spent waiting.
TESTFLAGS = -shuffle=on -p 2 -parallel 8 -timeout 60m

.PHONY: unit
unit: ## run the tests that need nothing but Go
	@GO="$(GO)" ./.ci/unit

.PHONY: test
test: test-deps ## run all tests under the race detector, after installing what they need
	cd deploy/kubernetes && $(GO) test ./...
	$(GO) test -run Allocates ./modes/...
	$(GO) test -race $(TESTFLAGS) ./...

.PHONY: test-deps
test-deps: ## install what the tests need and is missing: redis-server, Node, Chromium, npm packages
	@./sdktest/deps.sh

.PHONY: sdktest
sdktest: ## run the published SDKs, in Node and Chromium, and the demo page against both modes
	$(GO) test -v -count=1 -timeout 60m ./sdktest

.PHONY: screenshot
screenshot: build test-deps ## draw docs/demo.png
	cd sdktest && TANDEM_SERVER=../bin/tandem node screenshot.js ../docs/demo.png

.PHONY: bench
bench: ## run the benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...

.PHONY: compare
compare: ## measure both modes on this machine, in 3 minutes; ARGS='-arms optimized': flags of go run ./compare run
	$(GO) run ./compare run $(ARGS)

.PHONY: compare-full
compare-full: ## the same with 6 repeats and longer windows, in half an hour
	$(GO) run ./compare run -profile full $(ARGS)

.PHONY: compare-live
compare-live: ## start both modes under one load and show both on a page
	$(GO) run ./compare live

.PHONY: anchor
anchor: ## measure the optimized mode against the least that a server can spend, as ratios
	$(GO) run ./compare anchor

.PHONY: soak
soak: test-deps ## run both modes for FOR (default 1h) with clients of every protocol, churn and faults; fail on loss and growth
	$(GO) run ./reliability soak -for $(FOR)

.PHONY: abuse
abuse: test-deps ## measure 1,000 healthy clients while 2,700 hostile ones attack, in both modes
	$(GO) run ./reliability abuse

.PHONY: failover storm
failover: test-deps ## end a node under 15,000 connections, in both modes, and watch them move to another
	$(GO) run ./reliability failover
storm: failover

.PHONY: fuzz
fuzz: ## fuzz every target for FUZZTIME (default 30s) each
	@./.ci/fuzz $(FUZZTIME)

.PHONY: cover
cover: test-deps ## write results/coverage.html
	@mkdir -p results
	$(GO) test -coverpkg=./... -coverprofile=results/coverage.out ./...
	$(GO) tool cover -html=results/coverage.out -o results/coverage.html
	@$(GO) tool cover -func=results/coverage.out | tail -1

.PHONY: lint
lint: bin/golangci-lint-$(GOLANGCI) ## check formatting, vet for Linux and macOS, run the linters
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "run make fmt for: $$unformatted"; exit 1; }
	$(GO) vet ./...
	GOOS=darwin $(GO) vet ./...
	$< run ./...

.PHONY: vulncheck
vulncheck: ## ask the Go vulnerability database about the dependencies; GOVULNDB: a mirror of it
	@$(GO) run golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK) ./... || { status=$$?; \
		echo "vulncheck: vulnerabilities were found, or the database could not be reached: see above; GOVULNDB=https://… names a mirror" >&2; exit $$status; }

.PHONY: fmt
fmt: ## format the code
	gofmt -w .

.PHONY: build
build: ## build bin/tandem, static, the same bytes wherever it is built
	@VERSION=$(VERSION) COMMIT=$(COMMIT) GO="$(GO)" deploy/release/build.sh bin/tandem

.PHONY: release
release: ## build dist/: archives for linux amd64 and arm64, with checksums
	@GO="$(GO)" deploy/release/release.sh $(VERSION) $(COMMIT)

.PHONY: docker
docker: ## build the image
	docker build -f deploy/Dockerfile --build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) -t tandem:$(VERSION) .

.PHONY: up
up: ## start Redis and the server with docker compose
	docker compose up --build --detach --wait

.PHONY: up-compare
up-compare: ## the same with both modes side by side, load, Prometheus and Grafana (localhost:3000)
	docker compose --profile compare up --build --detach --wait

.PHONY: compose-check
compose-check: ## really run docker-compose.yml, all of it, and look at what Prometheus gets
	./deploy/compose-check.sh

.PHONY: down
down: ## stop what up and up-compare started
	docker compose --profile compare down

.PHONY: variables
variables: ## write the table of docs/configuration.md
	$(GO) test ./server/config -run '^TestVariablesTable$$' -count=1 -update

.PHONY: diagram
diagram: ## draw docs/architecture.svg
	@docs/diagram.sh

.PHONY: clean
clean: ## remove what was built and measured
	rm -rf bin results dist

# The version is in the name, so that a new one is built when it changes.
bin/golangci-lint-$(GOLANGCI):
	@mkdir -p bin
	GOFLAGS= GOBIN=$(CURDIR)/bin $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI)
	@mv bin/golangci-lint $@
