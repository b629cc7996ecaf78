# Every target installs what it needs and is missing (scripts/setup), and nothing else.
# CARGO_TARGET_DIR is never set here: the environment may.

SHELL := bash
CARGO ?= cargo
XTASK := $(CARGO) run --release --locked -p xtask --

.DEFAULT_GOAL := help
.PHONY: help run demo build test lint fuzz sim bench wasm setup

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## build and start the service on loopback, no configuration needed (ARGS="--listen 127.0.0.1:9000" to change)
	@scripts/setup rust c
	$(CARGO) run --release --locked -p server --bin waxwing -- serve $(ARGS)

demo: ## play a conversation of two people through a server that is killed in the middle
	@scripts/setup rust c protoc
	$(CARGO) build --release --locked -p server -p client-cli --bins
	$(XTASK) demo

build: ## release builds of waxwing and wax
	@scripts/setup rust c protoc
	$(CARGO) build --release --locked -p server -p client-cli --bins

test: ## everything that CI runs; the last line counts what passed
	@scripts/setup rust c protoc node strace wasm
	$(XTASK) test

lint: ## format, clippy, rustdoc, repository checks, licences: the quick part of `make test`
	@scripts/setup rust c protoc
	$(XTASK) lint

fuzz: ## long fuzzing of every parser of untrusted bytes (TARGET=name, SECONDS_EACH=60)
	@scripts/setup rust c cxx protoc
	$(XTASK) fuzz $(if $(TARGET),--target $(TARGET)) $(if $(SECONDS_EACH),--seconds $(SECONDS_EACH))

sim: ## simulate random seeds until stopped, or one (SEED=7)
	@scripts/setup rust c protoc
	$(CARGO) run --release --locked -p sim -- $(if $(SEED),--seed $(SEED),--random)

bench: ## the short set of benchmarks, as a table (ARGS="--only rotation" for one of them)
	@scripts/setup rust c protoc
	$(CARGO) build --release --locked -p server -p client-cli --bins
	$(CARGO) run --release --locked -p loadgen -- bench $(ARGS)

wasm: ## build the client's crates for wasm32
	@scripts/setup rust c protoc wasm
	$(XTASK) wasm

setup: ## install everything that any target needs and is missing
	@scripts/setup rust c cxx protoc node strace wasm
