# Each target is a script in scripts/; the scripts say what they install, and why, before they do.

.DEFAULT_GOAL := help
.PHONY: help run build install test lint bench fuzz soak clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## build, then serve on http://localhost:8008 with an embedded PostgreSQL
	@scripts/run

build: ## build the server and the extension (development profile)
	@scripts/build dev

install: ## build a release; install the program, and the extension's files for pg_config (DESTDIR, PREFIX)
	@scripts/install

test: ## formatting, clippy, and every test
	@scripts/test

lint: ## formatting and lints only
	@scripts/lint

bench: ## measure speed and memory (takes minutes)
	@scripts/bench

fuzz: ## feed the rules with inputs that nobody thought of, FUZZ_SECONDS (60) for each target
	@scripts/fuzz

soak: ## exchange generated events with other servers for SOAK_SECONDS (600)
	@scripts/soak

clean: ## remove what was built in the checkout; data and caches outside it stay
	@scripts/clean
