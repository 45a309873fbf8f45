# make run: the Jiyang scenario, end to end, with a report.   make test: everything checked on real engines.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
PEERS := .cache/peers

FUZZ ?= normalise check mrz check_documents moment sheet workbook mapping key_ring wire
SECONDS ?= 60
SEEDS ?= 3

.PHONY: run board test unit lint format audit bench bench-axes bench-latency bench-peers faults explore fuzz docs setup engines clean

run: setup
	$(BIN)/ninezero demo --once

# The same, kept open with its board until Ctrl-C.
board: setup
	$(BIN)/ninezero demo

# What promises something within seconds is tried alone; the rest mostly waits, and goes two files at a time.
test: setup engines lint
	$(BIN)/pytest tests/acceptance tests/faults
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder tests/integration tests/unit

unit: setup engines
	$(BIN)/pytest tests/unit

lint: setup
	$(BIN)/ruff format --check -q .
	$(BIN)/ruff check -q .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff format -q .
	$(BIN)/ruff check --fix -q .

# Known weaknesses of the pinned packages. Only an answer about every one of them counts: no answer is not "none known".
audit: setup
	@$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[audit]'
	@said=$$($(BIN)/pip-audit --strict --no-deps --disable-pip --progress-spinner off -r constraints.txt 2>&1) && echo "$$said" || { \
		echo "$$said" | grep -q 'known vulnerabilit' && echo "$$said" || \
		echo "the advisory service did not answer for every package: nothing is known about them; run it where https://pypi.org can be reached"; \
		exit 1; } >&2

bench: setup
	$(BIN)/python -m tests.bench.screening
	$(BIN)/python -m tests.bench.device
	$(BIN)/python -m tests.bench.watchlist
	$(BIN)/python -m tests.bench.push
	$(BIN)/python -m tests.bench.freshness

# Cost against size, and latency against rate: into .run/bench.json, docs/performance.md and docs/pictures/cost.svg; twelve minutes, and two.
bench-axes: setup engines
	$(BIN)/python -m tests.bench.axes
bench-latency: setup
	$(BIN)/python -m tests.bench.latency

# The same job by this product, by Faust, Quix Streams, Bytewax, loops of one's own, and Kafka Streams: a quarter of an hour.
ROUNDS ?= 5
bench-peers: setup engines $(PEERS)/ready
	$(BIN)/python -m tests.bench.comparison --rounds $(ROUNDS)

# The peers have an environment of their own: their dependencies are not ours.
$(PEERS)/ready: tests/bench/peers/requirements.txt $(wildcard tests/bench/peers/streams/*)
	@command -v javac >/dev/null || $(MAKE) --no-print-directory apt PACKAGE=openjdk-17-jdk-headless PROGRAM=javac
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install -q --disable-pip-version-check -r tests/bench/peers/requirements.txt
	mvn -q -B -C -f tests/bench/peers/streams/pom.xml dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/$(PEERS)/streams
	javac -cp '$(PEERS)/streams/*' -d $(PEERS)/classes tests/bench/peers/streams/*.java
	@touch $@

# Every fault with SEEDS seeds, about 20 minutes a seed, or random ones for SOAK seconds; results are left in .run/faults.json.
faults: setup engines
	$(BIN)/python -m tests.faults.run $(if $(SOAK),--soak $(SOAK),--seeds $(SEEDS))

# The live tests against their models, with SEEDS seeds of their own each (make test always takes the same one).
explore: setup engines
	@for seed in $$(shuf -i 1-999999 -n $(SEEDS)); do \
		ACCEPTANCE_SEED=$$seed PUSH_SEED=$$seed FAULT_SEED=$$seed \
		$(BIN)/pytest tests/acceptance/test_acceptance.py tests/acceptance/test_push_live.py tests/integration/pipeline/test_case_alerts.py \
		tests/integration/edge/test_device_faults.py tests/faults || exit 1; done

# Each parser in turn, for SECONDS; FUZZ names fewer. What is found is left in the temporary folder. Then hostile records on every
# topic of a running deployment, with new seeds until SECONDS are over (a seed takes a minute or two).
fuzz: setup engines
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[fuzz]'
	@for parser in $(FUZZ); do \
		said=$$($(BIN)/python -m tests.fuzz.parsers $$parser -max_total_time=$(SECONDS) 2>&1) || { echo "$$said"; exit 1; }; \
		echo "$$parser: $$(echo "$$said" | grep -a '^Done ')"; done
	$(BIN)/python -m tests.fuzz.live --seconds $(SECONDS)

# The documentation as a site, into .run/site; the generated pages first.
docs: setup
	$(BIN)/python -m ninezero.agents.reference
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# Python packages, and the jars of the Kafka that streams/local_kafka/pom.xml names. Java and Maven come from the machine.
setup: $(READY)
$(READY): pyproject.toml constraints.txt streams/local_kafka/pom.xml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed: set PYTHON=…" >&2; exit 1; }
	@command -v java >/dev/null || $(MAKE) --no-print-directory apt PACKAGE=openjdk-17-jre-headless PROGRAM=java
	@command -v mvn >/dev/null || $(MAKE) --no-print-directory apt PACKAGE=maven PROGRAM=mvn
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[worker,embedded,dev]'
	$(BIN)/python -c 'from ninezero.streams.local_kafka.broker import install; install()'
	@touch $@

# The server whose native protocol the tests speak, the Prometheus that tries the rules, and the browser that looks at the board.
engines:
	@command -v promtool >/dev/null || $(MAKE) --no-print-directory apt PACKAGE=prometheus PROGRAM=promtool
	@command -v clickhouse-server >/dev/null || $(MAKE) --no-print-directory apt PACKAGE=clickhouse-server PROGRAM=clickhouse-server
	@command -v chromium >/dev/null || $(MAKE) --no-print-directory apt PACKAGE=chromium PROGRAM=chromium

.PHONY: apt
apt:
	@if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(PACKAGE) >/dev/null; \
	else echo "$(PROGRAM) is missing: install the package $(PACKAGE)" >&2; exit 1; fi

clean:
	-$(BIN)/ninezero kafka stop
	rm -rf .run .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis .venv
