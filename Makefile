# `make` alone lists the targets. On a fresh Debian 12 with Rust, each target installs what it lacks.

CARGO ?= cargo
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
SHELL_SCRIPTS := .ci/run $(wildcard scripts/*.sh tests/lab/*.sh benches/*.sh)

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

.PHONY: demo
demo: setup-build setup-lab ## see it work: a real Open vSwitch, sFlow, a pcap over TCP, and questions
	$(CARGO) build --locked
	$(SUDO) scripts/demo.sh target/debug/flowtap

.PHONY: build
build: setup-build ## the optimized binary, target/release/flowtap
	$(CARGO) build --locked --release

.PHONY: check
check: setup-build setup-lint ## format, lints, docs, shell scripts, crate walls, licences; fuzz targets compile
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) check --locked --quiet --manifest-path fuzz/Cargo.toml
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps
	shellcheck -x -P SCRIPTDIR $(SHELL_SCRIPTS)
	$(CARGO) test --locked --quiet --test walls

.PHONY: test
test: setup-build setup-lab setup-test ## every test; the end to end ones need root for their namespaces
ifeq ($(shell command -v cargo-nextest),)
	$(CARGO) test --locked --workspace
else
	$(CARGO) test --locked --workspace --doc
	$(CARGO) nextest run --locked --workspace
endif

.PHONY: bench
bench: setup-build setup-bench ## beside the tools in use now: packets and samples a second, memory; five minutes
	scripts/bench.sh

.PHONY: fuzz
fuzz: setup-build ## fuzz each parser of foreign bytes, a minute each unless FUZZ_SECONDS says otherwise
	scripts/fuzz.sh $(or $(FUZZ_SECONDS),60)

.PHONY: setup-build setup-lint setup-lab setup-test setup-bench setup
setup: setup-build setup-lint setup-lab setup-test setup-bench ## install everything that any target needs
setup-build setup-lint setup-lab setup-test setup-bench: setup-%:
	@scripts/setup.sh $*
