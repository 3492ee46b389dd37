# Everything starts here: `make run` and `make test` do all their own set-up on Debian 12 with a Rust toolchain.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:

# RocksDB's C++ is compiled into this directory once; it outlives clones of the repository.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/ticklane-target
VENV ?= $(HOME)/.cache/ticklane-venv
TICKLANE := $(CARGO_TARGET_DIR)/release/ticklane
TICKLANE_LOAD := $(CARGO_TARGET_DIR)/release/ticklane-load
# `make bench BENCH_WRITE=` prints only.
BENCH_WRITE ?= --write bench/RESULTS.md
# Random runs of the engine against its model in `make soak`; some 4 a second.
SOAK_RUNS ?= 2000

# One profile for everything: a second one would compile RocksDB a second time.
CARGO_FLAGS := --release --locked

.PHONY: help run test test-rust test-load test-python soak bench bench-full cost lanes bars knobs fmt clippy build build-load deps deps-test venv \
	clean-data

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## Install what is missing, build, start the server with conf/ticklane.toml and ./data
	@exec "$(TICKLANE)" serve --config conf/ticklane.toml --data-dir ./data

test: test-rust test-load test-python ## Install what is missing and run every test

test-rust: deps-test first-build-notice
	cargo test $(CARGO_FLAGS)

test-load: deps
	cargo test $(CARGO_FLAGS) -p ticklane-load

test-python: build venv
	PYTHONDONTWRITEBYTECODE=1 TICKLANE_BIN="$(TICKLANE)" "$(VENV)/bin/python" -m pytest -q -p no:cacheprovider tests/python

soak: deps-test ## Run the randomised tests of the engine and of crashes for long, with seeds of their own
	SEED=random ENGINE_MODEL_RUNS=$(SOAK_RUNS) TICKLANE_SERIES_CRASH_CYCLES=20 \
		cargo test $(CARGO_FLAGS) --test engine_model --test series_crash -- --nocapture

bench: build build-load deps-test ## Compare with Debian's redis-server, write bench/RESULTS.md; BENCH_ARGS="--rounds 5"
	bench/compare --server "$(TICKLANE)" --load "$(TICKLANE_LOAD)" $(BENCH_WRITE) $(BENCH_ARGS)

# Line tables say which source an instruction belongs to; they change nothing else, and only our crate is compiled anew.
LINE_TABLES := --config 'profile.release.package.ticklane.debug="line-tables-only"'

cost: deps first-build-notice ## Count instructions and allocations per command, local and over a hop, write bench/COST.md
	@.ci/install-packages bench
	cargo build $(CARGO_FLAGS) $(LINE_TABLES)
	bench/cost --server "$(TICKLANE)" --write bench/COST.md

bench-full: build build-load ## The same for an hour: Valkey, VictoriaMetrics, late samples, two lanes, fixed rates
	@.ci/install-packages bench
	bench/compare --server "$(TICKLANE)" --load "$(TICKLANE_LOAD)" $(BENCH_WRITE) --rounds 5 --seconds 4 \
		--peer redis --peer valkey --late --lanes --open-loop --open-loop-seconds 60 --victoria $(BENCH_ARGS)

lanes: build build-load ## One lane beside two, plain and cluster-aware clients, 5 minutes, write bench/LANES.md
	bench/lanes.py --server "$(TICKLANE)" --load "$(TICKLANE_LOAD)" --write bench/LANES.md $(LANES_ARGS)

# `make bars BARS_WRITE=` prints only.
BARS_WRITE ?= --write bench/BARS.md --curves bench/curves

bars: build build-load ## Latency over 10 minutes, 10,000 connections, a long run, a million series: BARS_ARGS=--short
	bench/bars --server "$(TICKLANE)" --load "$(TICKLANE_LOAD)" $(BARS_WRITE) $(BARS_ARGS)

knobs: build build-load ## What settings cost, in CPU time and bytes: the tables of tuning.md; KNOBS_ARGS="--only KEY"
	bench/knobs --server "$(TICKLANE)" --load "$(TICKLANE_LOAD)" $(KNOBS_ARGS)

build-load: deps ## Build the load generator alone: no RocksDB, half a minute
	cargo build $(CARGO_FLAGS) -p ticklane-load

fmt: ## Format the Rust sources
	cargo fmt --all

clippy: deps first-build-notice ## Lint with warnings denied
	cargo clippy $(CARGO_FLAGS) --all-targets -- -D warnings
	cargo clippy $(CARGO_FLAGS) -p ticklane-load --all-targets -- -D warnings

build: deps first-build-notice ## Install what is missing and build the server
	cargo build $(CARGO_FLAGS)

deps: ## Install the system packages that building and running need
	@.ci/install-packages run

deps-test: ## Install the system packages that the tests need as well
	@.ci/install-packages test

# Not before deps-test: without python3-venv there is no venv to make.
venv: deps-test $(VENV)/.installed

$(VENV)/.installed: tests/python/requirements.txt
	python3 -m venv "$(VENV)"
	"$(VENV)/bin/pip" install --quiet --disable-pip-version-check -r tests/python/requirements.txt
	@touch "$@"

.PHONY: first-build-notice
first-build-notice:
	@ls "$(CARGO_TARGET_DIR)"/release/build/*rocksdb-sys-*/out/librocksdb.a >/dev/null 2>&1 \
		|| echo "First build: RocksDB compiles for about 20 minutes, once, into $(CARGO_TARGET_DIR)."

clean-data: ## Delete ./data, the data of `make run`
	rm -rf -- ./data
