RUST := 1.91
# Where rustup puts cargo: sudo and CI often lack it, and Debian's own cargo may be too old.
export PATH := $(HOME)/.cargo/bin:$(PATH)

.PHONY: help demo test lint clippy supply-chain sanitize miri bench shim image fuzz fuzz-api soak load rust

help:
	@echo 'make demo    two synthetic cameras on http://127.0.0.1:8080, until Ctrl-C'
	@echo 'make test    the whole test suite'
	@echo 'make lint    rustfmt and clippy, which holds the code to what no input may reach'
	@echo 'make supply-chain   licences, sources, double versions, known vulnerabilities, dependencies without a use'
	@echo 'make sanitize       engine and VA driver under AddressSanitizer; needs a nightly Rust'
	@echo 'make miri           pure parsers under Miri; needs a nightly Rust with it'
	@echo 'make shim    the stand-in ffmpeg and ffprobe, static, for any image; says where they are'
	@echo 'make image   the container image, built with podman, checked, with its SBOM; NAME=camshaft:latest'
	@echo 'make bench   CPU, memory and latency against ffmpeg, as today; ARGS=--help for its options'
	@echo 'make fuzz    every target under libFuzzer for FUZZ_SECONDS (60) each, then mutated media; needs a nightly Rust'
	@echo 'make fuzz-api  the API against its own description, with and without a token (schemathesis)'
	@echo 'make soak    readers, workers, cameras and reloads come and go for SOAK_MINUTES (10); says what stayed'
	@echo 'make load    8 cameras, 200 viewers for LOAD_SECONDS (60): CPU, late frames, drops'
	@echo
	@echo 'Missing Debian packages are installed with apt. Rust $(RUST) or newer is needed.'

demo: rust
	@deploy/bootstrap.sh demo
	cargo build --release
	@deploy/demo.sh

test: rust
	@deploy/bootstrap.sh test
	@tests/run.sh

lint: rust
	@deploy/bootstrap.sh build
	cargo fmt --check
	cargo clippy --workspace --all-targets --locked -- --deny warnings

# What the programs deny, and no more: for CI, if its Rust came with clippy.
clippy: rust
	@cargo clippy --version >/dev/null 2>&1 || { echo 'no clippy here: rustup component add clippy' && exit 0; }; \
	cargo clippy --workspace --locked

supply-chain: rust
	@deploy/supply-chain.sh

sanitize: rust
	@deploy/bootstrap.sh test
	@tests/sanitize.sh

miri: rust
	@tests/miri.sh

bench: rust
	@deploy/bootstrap.sh test
	cargo build --release
	@"$${CARGO_TARGET_DIR:-target}/release/camshaft" bench $(ARGS)

# Static by the variable of one target, so that neither build scripts nor the other programs are.
shim: target := $(shell uname -m)-unknown-linux-gnu
shim: rust
	CARGO_TARGET_$(subst -,_,$(shell echo $(target) | tr a-z A-Z))_RUSTFLAGS='-C target-feature=+crt-static' \
	    cargo build --profile shim --package camshaft-shim --target $(target)
	@ls -l "$${CARGO_TARGET_DIR:-target}/$(target)/shim/ffmpeg" "$${CARGO_TARGET_DIR:-target}/$(target)/shim/ffprobe"

image: rust
	@deploy/bootstrap.sh image
	@deploy/image/build.sh $(NAME)

fuzz: rust
	@deploy/bootstrap.sh test
	@tests/support/fuzz.sh

fuzz-api: rust
	@deploy/bootstrap.sh test
	cargo test --workspace --test it -- --ignored --nocapture limits::api

soak: rust
	@deploy/bootstrap.sh test
	SOAK_MINUTES=$${SOAK_MINUTES:-10} cargo test --workspace --test it -- --ignored --nocapture soak::for_minutes

load: rust
	@deploy/bootstrap.sh test
	cargo test --workspace --test it -- --ignored --nocapture soak::load

rust:
	@found=$$(cargo --version 2>/dev/null | cut -d' ' -f2); \
	printf '%s\n' $(RUST) "$${found:-0}" | sort --version-sort --check=quiet || { \
	    echo "camshaft needs Rust $(RUST) or newer, found: $${found:-none}. Get it from https://rustup.rs:"; \
	    echo "  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"; \
	    echo "or, with rustup installed: rustup update stable"; exit 1; } >&2
