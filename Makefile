# Headwater. `make` lists the targets; `make run` and `make test` are the two that matter.
#
# What a plain Debian or Ubuntu machine with Rust (rustup), Node 20 and build-essential (C, C++, make) lacks is installed here: npm packages
# and the wasm target by their own tools, browsers, Java and Maven by apt-get, and each says so.

.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

CHROMIUM ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome || echo /usr/bin/chromium)
export CHROMIUM
FIREFOX ?= $(shell command -v firefox-esr || command -v firefox || echo /usr/bin/firefox-esr)
export FIREFOX
WEBKIT_DRIVER ?= $(shell command -v WebKitWebDriver || echo /usr/bin/WebKitWebDriver)
export WEBKIT_DRIVER
XVFB ?= $(shell command -v Xvfb || echo /usr/bin/Xvfb)
export XVFB
PROMTOOL ?= $(shell command -v promtool || echo $(CURDIR)/.build/prometheus/usr/bin/promtool)
export PROMTOOL

SAY := printf '\033[1m— %s\033[0m\n'

SDK_SOURCES := $(shell find sdk-core/src sdk-wasm/src sdk-wasm/js sdk-wasm/pack/src -type f) \
	Cargo.toml Cargo.lock sdk-core/Cargo.toml sdk-wasm/Cargo.toml sdk-wasm/pack/Cargo.toml sdk-wasm/build.mjs sdk-wasm/package.json

.PHONY: help run build check test mobile bench tools format fuzz data-folder clean e2e

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build .build/npm-examples ## build everything, start the demo shop, print one URL (ARGS="--port 8431 …": its flags)
	@node examples/demo/demo.mjs target/release/headwater --data data/demo $(ARGS)

build: sdk-wasm/dist/headwater.js .build/npm-console ## build the SDK and the collector (target/release/headwater)
	@$(SAY) "collector: target/release/headwater (the first time this takes about five minutes on two cores)"
	cargo build --release --locked -p headwater-collector --bin headwater

check: sdk-wasm/dist/headwater.js .build/npm-console .build/npm-examples ## format, lints and fast tests
	@$(SAY) "format"
	cargo fmt --all --check
	@$(SAY) "lints"
	cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
	cd sdk-wasm && npm run --silent check
	@$(SAY) "unit and simulation tests"
	cargo test --locked -q -p headwater-core --all-features
	cargo test --locked -q -p headwater-wasm
	cargo test --locked -q -p headwater-mobile --lib
	cargo test --locked -q -p headwater-collector --lib

test: check .build/engines .build/npm-clients .build/python-clients .build/kotlin-client .build/promtool .build/kafka .build/npm-actions .build/smtp .build/swift ## everything: check, collector, browser and end-to-end tests (HEADWATER_KILL_ROUNDS=100: more kills)
	@$(SAY) "the core on wasm32"
	cargo build --locked -q -p headwater-core --target wasm32-unknown-unknown
	@$(SAY) "collector"
	cargo build --locked -q -p headwater-collector --bin headwater
	cargo test --locked -q -p headwater-collector --test '*'
	cargo test --locked -q -p headwater-collector --doc
	@$(SAY) "mobile library: faults and kills, in Rust, Kotlin and Swift (HEADWATER_KILL_ROUNDS=200 HEADWATER_BACKLOG=100000: in full)"
	$(MAKE) --no-print-directory mobile
	@$(SAY) "other people's clients, unmodified"
	cd collector/tests/clients && HEADWATER=$(CURDIR)/target/debug/headwater \
		HEADWATER_PYTHON=$(CURDIR)/.build/clients-python/bin/python \
		HEADWATER_KOTLIN=$(CURDIR)/.build/clients-kotlin npm test --silent
	@$(SAY) "browser SDK in Chromium"
	cd sdk-wasm && npm test --silent
	@$(SAY) "browser SDK: the conformance suite in Chromium, Firefox and WebKitGTK"
	cd sdk-wasm && npm run --silent engines
	@$(SAY) "examples, and every part together in Chromium"
	cd examples && HEADWATER=$(CURDIR)/target/debug/headwater npm test --silent

mobile: .build/kotlin-client .build/swift ## the mobile library: sizes, its Kotlin and Swift sides, faults in all three languages
	cargo build --locked -q -p headwater-collector --bin headwater
	cargo build --locked -q -p headwater-bindgen
	cargo build --locked -q -p headwater-mobile --features testing --lib --example caller
	cargo test --locked -q -p headwater-mobile --features testing --test line --test kept
	cargo test --locked -q -p headwater-mobile --features testing --doc
	@$(SAY) "mobile: Kotlin, on the JVM and under Robolectric"
	mvn -q -B -f sdk-mobile/kotlin/pom.xml verify
	@$(SAY) "mobile: Swift"
	@set +e; sdk-mobile/swift/run true; code=$$?; set -e; callers=rust,kotlin; \
	if [ $$code = 77 ]; then \
		$(SAY) "SKIPPED: Swift's part, since there is no Swift 6 here (see above)"; \
	else \
		sdk-mobile/swift/build; sdk-mobile/swift/test; callers+=,swift; \
	fi; \
	$(SAY) "mobile: faults and kills, by $$callers"; \
	HEADWATER_CALLERS=$$callers HEADWATER_NATIVE=$(CURDIR)/target/debug \
		cargo test --locked -q -p headwater-mobile --features testing --test faults -- --test-threads 6
	@$(SAY) "mobile: type-checked for Android and iOS"
	@rustup target add aarch64-linux-android aarch64-apple-ios
	cargo check --locked -q -p headwater-mobile --no-default-features --target aarch64-linux-android --target aarch64-apple-ios
	@# With its own HTTP, too. ring wants a C compiler, of which a check needs nothing: it links nothing.
	CC_aarch64_linux_android=true AR_aarch64_linux_android=true \
		cargo check --locked -q -p headwater-mobile --no-default-features --features reqwest --target aarch64-linux-android
	@$(SAY) "mobile: the size of what is shipped"
	sdk-mobile/size

bench: build .build/chromium ## speed, memory and bytes, as ratios to a floor measured in the same run
	@$(SAY) "collector against its floor"
	cargo bench --locked -p headwater-collector --bench ingest
	@$(SAY) "collector: latency to those who wait, replay (HEADWATER_BENCH_STORED=50000000: a full log, too)"
	cargo bench --locked -p headwater-collector --bench carry
	@$(SAY) "people: folding the log, reading a profile while events pour in (HEADWATER_BENCH_PEOPLE=1000000: in full)"
	cargo bench --locked -p headwater-collector --bench people
	@$(SAY) "rules: folding with 20 of them, from an event to its action, decisions, timers (HEADWATER_BENCH_PEOPLE=1000000: in full)"
	cargo bench --locked -p headwater-collector --bench rules
	@$(SAY) "mobile library: time to commit against SQLite alone, a backlog drained, sizes"
	cargo bench --locked -p headwater-mobile --bench track
	sdk-mobile/size
	@$(SAY) "browser SDK: bytes, microseconds per call, time to commit"
	cd sdk-wasm && npm run --silent bench

format: ## format the Rust sources
	cargo fmt --all

FUZZ_SECONDS ?= 300

fuzz: ## feed the collector bytes that nobody would send, with a nightly compiler (FUZZ_SECONDS=300, for each target)
	@command -v cargo-fuzz >/dev/null || { $(SAY) "installing cargo-fuzz"; cargo install --locked cargo-fuzz; }
	@rustup toolchain list | grep -q '^nightly' || { $(SAY) "installing a nightly compiler"; rustup toolchain install nightly --profile minimal; }
	@# What is found on the way is kept in corpus/, which is not under version control; the seeds are.
	cd collector && for target in decode validate recovery config rules; do \
		mkdir -p fuzz/corpus/$$target; \
		cargo +nightly fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -timeout=20 -max_len=65536 -print_final_stats=1; \
	done

data-folder: ## write a data folder as this release does, for collector/tests/formats (FOLDER=…)
	@test -n "$(FOLDER)" || { echo "say where: make data-folder FOLDER=collector/tests/formats/v2"; exit 2; }
	cargo run --locked -q -p headwater-collector --example write-format -- $(FOLDER)

clean: ## delete everything that was built
	cargo clean
	rm -rf sdk-mobile/kotlin/*/target examples/jvm/target sdk-mobile/swift/.build sdk-mobile/swift/Generated examples/swift/*/.build
	rm -rf .build sdk-wasm/dist sdk-wasm/node_modules examples/node_modules collector/console/node_modules collector/tests/clients/node_modules collector/tests/actions/node_modules

# ---- what the targets above need

sdk-wasm/dist/headwater.js: $(SDK_SOURCES) .build/npm-sdk .build/wasm-target
	@$(SAY) "browser SDK: sdk-wasm/dist"
	cd sdk-wasm && npm run --silent build
	@touch $@

.build/npm-sdk: sdk-wasm/package.json sdk-wasm/package-lock.json | tools
	@$(SAY) "installing the SDK's build tools into sdk-wasm/node_modules"
	cd sdk-wasm && npm ci --no-audit --no-fund
	@mkdir -p .build && touch $@

.build/npm-console: collector/console/package.json collector/console/package-lock.json | tools
	@$(SAY) "installing what the console's pages load into collector/console/node_modules"
	cd collector/console && npm ci --no-audit --no-fund --ignore-scripts
	@mkdir -p .build && touch $@

.build/npm-examples: examples/package.json examples/package-lock.json | tools
	@$(SAY) "installing the examples' packages into examples/node_modules"
	cd examples && npm ci --no-audit --no-fund
	@mkdir -p .build && touch $@

.build/npm-clients: collector/tests/clients/package.json collector/tests/clients/package-lock.json | tools
	@$(SAY) "installing Segment's and RudderStack's clients, for tests"
	# Not `npm ci`: of the optional parts of a dependency the lock file has only this platform's, which it takes for a mistake.
	cd collector/tests/clients && npm install --no-audit --no-fund --no-save --ignore-scripts
	@mkdir -p .build && touch $@

.build/python-clients: collector/tests/clients/requirements.txt | tools
	@$(SAY) "installing Segment's Python client into .build, for tests"
	@mkdir -p .build
	@python3 -c 'import ensurepip, venv' 2>/dev/null || { echo "installing python3-venv with apt-get"; \
		sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
		$$sudo apt-get update -q && $$sudo apt-get install -qy --no-install-recommends python3 python3-venv; }
	python3 -m venv .build/clients-python
	.build/clients-python/bin/pip install --quiet --disable-pip-version-check -r collector/tests/clients/requirements.txt
	@touch $@

.build/npm-actions: collector/tests/actions/package.json collector/tests/actions/package-lock.json | tools
	@$(SAY) "installing Slack's types and Twilio's client, for tests"
	cd collector/tests/actions && npm ci --no-audit --no-fund --ignore-scripts
	@mkdir -p .build && touch $@

.build/smtp: collector/tests/actions/requirements.txt | tools
	@$(SAY) "installing an SMTP server (aiosmtpd) into .build, for tests"
	@mkdir -p .build
	@python3 -c 'import ensurepip, venv' 2>/dev/null || { echo "installing python3-venv with apt-get"; \
		sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
		$$sudo apt-get update -q && $$sudo apt-get install -qy --no-install-recommends python3 python3-venv; }
	python3 -m venv $@
	$@/bin/pip install --quiet --disable-pip-version-check -r collector/tests/actions/requirements.txt
	@touch $@

.build/kafka: collector/tests/kafka/pom.xml | tools
	@$(SAY) "fetching a Kafka broker into .build, for tests"
	@{ command -v java && command -v mvn; } >/dev/null || { echo "installing Java and Maven with apt-get"; \
		sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
		$$sudo apt-get update -q && $$sudo apt-get install -qy --no-install-recommends default-jdk-headless maven; }
	@rm -rf $@ $@.new
	mvn -q -B -f collector/tests/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/$@.new
	@mv $@.new $@ && touch $@

.build/wasm-target: rust-toolchain.toml | tools
	@$(SAY) "installing the Rust toolchain that rust-toolchain.toml names, with its wasm target"
	@rustup toolchain install --profile minimal --component rustfmt --component clippy --target wasm32-unknown-unknown \
		$$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
	@mkdir -p .build && touch $@

# Asked anew each time: a browser can be removed behind our back, and looking costs nothing.
.PHONY: .build/chromium
.build/chromium:
	@if ! [ -x "$(CHROMIUM)" ]; then \
		$(SAY) "installing Chromium with apt-get (set CHROMIUM to use another one)"; \
		sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
		$$sudo apt-get update -q && $$sudo apt-get install -qy --no-install-recommends chromium; \
	fi

.PHONY: .build/engines
.build/engines: .build/chromium
	@missing=; \
	[ -x "$(FIREFOX)" ] || missing+=" firefox-esr"; \
	[ -x "$(WEBKIT_DRIVER)" ] || missing+=" webkit2gtk-driver"; \
	[ -x "$(XVFB)" ] || missing+=" xvfb"; \
	if [ -n "$$missing" ]; then \
		$(SAY) "installing$$missing with apt-get (set FIREFOX, WEBKIT_DRIVER or XVFB to use others)"; \
		sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
		$$sudo apt-get update -q && $$sudo apt-get install -qy --no-install-recommends $$missing; \
	fi

# Java may be removed behind our back, so look each time; the jars stay.
.PHONY: .build/kotlin-client
.build/kotlin-client: .build/clients-kotlin
	@command -v java >/dev/null || { $(SAY) "installing a Java runtime and compiler with apt-get, for tests"; \
		sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
		$$sudo apt-get update -q && $$sudo apt-get install -qy --no-install-recommends default-jdk-headless; }

.build/clients-kotlin: collector/tests/clients/kotlin/pom.xml | tools
	@$(SAY) "fetching Segment's Kotlin client into .build with Maven, for tests"
	@command -v mvn >/dev/null || { echo "installing Maven with apt-get"; \
		sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
		$$sudo apt-get update -q && $$sudo apt-get install -qy --no-install-recommends maven default-jdk-headless; }
	rm -rf $@
	mvn -q -B -f collector/tests/clients/kotlin/pom.xml dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/$@
	@touch $@

# Swift 6 in a Debian of its own, 3.4 GB, unless there is one; where neither can be had it says so, and Swift's tests are skipped.
.PHONY: .build/swift
.build/swift:
	@sdk-mobile/swift/toolchain || [ $$? = 77 ]

# Only unpacked: to install Debian's package would start a server.
.PHONY: .build/promtool
.build/promtool:
	@if ! [ -x "$(PROMTOOL)" ]; then \
		$(SAY) "unpacking promtool from Debian's package prometheus (19 MB) into .build (set PROMTOOL to use another one)"; \
		sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
		mkdir -p .build/prometheus && $$sudo apt-get update -q && cd .build/prometheus && \
		apt-get download -q prometheus && dpkg-deb -x prometheus_*.deb . && rm prometheus_*.deb; \
	fi

tools:
	@command -v rustup cargo >/dev/null || { echo "Rust is missing: install it with rustup (https://rustup.rs)"; exit 1; }
	@# C for SQLite, zstd and ring, C++ and make for Kafka's client (the feature `kafka`, which is on).
	@{ command -v cc && command -v c++ && command -v make; } >/dev/null || { \
		echo "a C and C++ compiler or make is missing: apt-get install build-essential (macOS: xcode-select --install)"; exit 1; }
	@node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null \
		|| { echo "Node 20 or newer is missing: https://nodejs.org"; exit 1; }
