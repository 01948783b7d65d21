# Dockseal's commands. Each sets up what it needs. If it cannot, it says what is missing and how to get it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export CARGO_TERM_COLOR ?= auto

.PHONY: help up quick test test-long test-portainer check deny bench fuzz generate manifest image tools rust go helm kubernetes hostbox promtool

help: ## show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

up: rust ## run the main job on examples/homelab.yaml, without a cluster
	cargo run --quiet --locked -- up examples/homelab.yaml $(UP)

# The tests that need no root, no Go, no Docker and no network.
QUICK := architecture compatibility crds delivery host_laws lifecycle registration
QUICK := $(foreach name,$(QUICK),$(if $(wildcard tests/$(name).rs),--test $(name)))

quick: rust ## formatting, clippy, unit tests and simulations: under a minute, for every change
	cargo fmt --check
	cargo clippy --locked --lib --bins $(QUICK) -- -D warnings
	cargo test --locked --lib $(QUICK)

test: rust go tools kubernetes helm hostbox promtool ## run every test
	@tests/needs.sh image
	@tests/run.sh

test-long: rust go tools kubernetes hostbox image ## the tests that take minutes: a kill at each system call, a dockerd that hangs, a second build, a hostile tenant
	HOSTBOX_CUTS_EVERY=1 cargo test --locked --no-fail-fast --test hostbox --test image -- --include-ignored
	cargo test --locked --test cluster -- --ignored --nocapture hostile

test-portainer: rust ## run the Portainer contract on a real server: PORTAINER_URL=http://host:9000 PORTAINER_API_KEY=ptr_...
	@test -n "$${PORTAINER_URL:-}" -a -n "$${PORTAINER_API_KEY:-}" || { echo "name a Portainer to test on, one for tests only: PORTAINER_URL=http://host:9000 (plain HTTP) and PORTAINER_API_KEY of an administrator" >&2; exit 1; }
	cargo test --locked --test portainer

check: rust ## formatting, clippy, docs
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

deny: rust ## licences and advisories (cargo-deny, built on first use)
	@command -v cargo-deny >/dev/null || cargo install --locked cargo-deny@0.20.2
	cargo deny check bans licenses sources
	cargo deny check advisories || { echo "advisories: the database could not be fetched, or has a finding; see above" >&2; exit 1; }

bench: rust go tools kubernetes ## measure the figures of docs/benchmarks.md
	cargo bench --locked --bench figures $(BENCH)

fuzz: rust ## fuzz the parsers, FUZZ_SECONDS each (needs a nightly toolchain and a C++ compiler), or FUZZ=target
	@rustc +nightly --version >/dev/null 2>&1 || { echo "fuzzing needs a nightly toolchain: rustup toolchain install nightly" >&2; exit 1; }
	@command -v c++ >/dev/null || { echo "fuzzing needs a C++ compiler: sudo apt-get install g++" >&2; exit 1; }
	@command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz@0.13.2
	fuzz/seeds.sh
	cargo +nightly fuzz build
	for target in $${FUZZ:-$$(cargo +nightly fuzz list)}; do \
	  mkdir -p "fuzz/corpus/$$target"; \
	  cargo +nightly fuzz run "$$target" "fuzz/corpus/$$target" "fuzz/seeds/$$target" -- \
	    -max_total_time=$(FUZZ_SECONDS) -max_len=8192 -timeout=30 -rss_limit_mb=4096 -print_final_stats=1; \
	done
FUZZ_SECONDS ?= 60

generate: rust ## write crds/, the chart's, docs/schema/ and docs/fields.md from the code, the chart's schema and table from its values
	cargo run --quiet --locked -- crds --dir crds
	cargo run --quiet --locked -- crds --dir charts/dockseal/templates/crds --templates
	cargo run --quiet --locked -- status --schema > docs/schema/status.json
	cargo run --quiet --locked -- verify --schema > docs/schema/verify.json
	cargo run --quiet --locked -- crds --fields > docs/fields.md
	GENERATE=1 cargo test --quiet --locked --test chart -- --exact schema_and_table_are_made_of_the_values >/dev/null

manifest: ## print the chart for those without Helm; VALUES="--set companion.profile=daemon", FILE=dockseal.yaml
	@helm=$$(tests/helm/build.sh); \
	"$$helm" template dockseal charts/dockseal --namespace dockseal --skip-tests --set controller.createNamespace=true $(VALUES) \
	  $(if $(FILE),> "$(FILE)")

image: rust ## make target/image/dockseal-VERSION.tar for docker load, and its SBOM; needs no Docker engine
	@tests/needs.sh image
	@export SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct 2>/dev/null || echo 0)}; \
	export REVISION=$${REVISION:-$$(git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null || echo unknown)}; \
	image/build.sh target/image

rust:
	@tests/needs.sh rust

go:
	@tests/needs.sh go

tools:
	@tests/needs.sh tools

helm:
	@tests/helm/build.sh >/dev/null

kubernetes:
	@tests/cluster/assets/build.sh node >/dev/null

hostbox:
	@tests/needs.sh hostbox
	@tests/hostbox/assets/build.sh >/dev/null

promtool:
	@tests/needs.sh promtool >/dev/null
