# `make help` lists the targets. Each one first installs what it needs into .venv.
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
PEERS := .cache/peers
CLICKHOUSE := .cache/clickhouse
ZOOKEEPER := .cache/zookeeper

FUZZ ?= normalise check mrz check_documents parse_time list_file workbook mapping key_ring wire
SECONDS ?= 60
SEEDS ?= 3
ALONE := tests/acceptance/test_push_live.py tests/faults tests/upgrade

# The targets that need `engines`, and what the targets of this call need of the machine: deploy/prerequisites.sh.
ON_ENGINES := test unit bench-axes bench-peers faults browser pictures upgrade-test explore fuzz
NEEDS := run $(if $(filter engines $(ON_ENGINES),$(MAKECMDGOALS)),tests) $(if $(filter bench-peers,$(MAKECMDGOALS)),peers)

.PHONY: help run board test unit lint format audit bench bench-axes bench-latency bench-peers faults browser pictures upgrade-test explore fuzz docs bare setup engines prerequisites clean

help: ## List the targets.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

run: setup ## Replay the Jiyang scenario through the whole pipeline and print the report.
	$(BIN)/ninezero demo --once

board: setup ## Do the same and keep the situation board open until Ctrl-C.
	$(BIN)/ninezero demo

# The first tests check time limits, so nothing runs beside them but the unit tests, which give way: they have the lowest priority. The
# others mostly wait and run three files at a time. Of the faults, the browser and the upgrades, it runs short cases: `make faults`,
# `make browser` and `make upgrade-test` run all.
test: setup engines lint ## Check everything on real engines.
	@$(MAKE) --no-print-directory -j2 test-limits test-units
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder $(addprefix --ignore=,$(ALONE)) \
		tests/acceptance tests/integration tests/packaging

.PHONY: test-limits test-units
test-limits:
	$(BIN)/pytest $(ALONE)
test-units:
	nice -n 19 $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder tests/unit

unit: setup ## Run the unit tests.
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder tests/unit

lint: setup ## Check format, style, types, released migrations and the direction of imports.
	$(BIN)/ruff format --check -q .
	$(BIN)/ruff check -q .
	$(BIN)/mypy
	$(BIN)/python -m tests.released
	$(BIN)/python -m ninezero.schemas.formats.golden
	$(BIN)/lint-imports >/dev/null || { $(BIN)/lint-imports; exit 1; }

format: setup ## Format the code.
	$(BIN)/ruff format -q .
	$(BIN)/ruff check --fix -q .

# It fails if the advisory service does not answer for every package, since no answer does not mean that no weakness is known.
audit: setup ## Look up known vulnerabilities of the pinned packages.
	@$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[audit]'
	@output=$$($(BIN)/pip-audit --strict --no-deps --disable-pip --progress-spinner off -r constraints.txt 2>&1) && echo "$$output" || { \
		echo "$$output" | grep -q 'known vulnerabilit' && echo "$$output" || \
		echo "the advisory service did not answer for every package: run this again with a connection to it"; \
		exit 1; } >&2

bench: setup ## Measure screening, the device, the lists, a push, freshness and ClickHouse at size.
	$(BIN)/python -m tests.bench.screening
	$(BIN)/python -m tests.bench.device
	$(BIN)/python -m tests.bench.watchlist
	$(BIN)/python -m tests.bench.push
	$(BIN)/python -m tests.bench.freshness
	$(BIN)/python -m tests.bench.views

bench-axes: setup ## Measure cost by size into docs/performance.md; 17 minutes.
	$(BIN)/python -m tests.bench.axes

bench-latency: setup ## Measure latency by rate into docs/performance.md; 2 minutes.
	$(BIN)/python -m tests.bench.latency

ROUNDS ?= 5
bench-peers: setup $(PEERS)/ready $(if $(findstring flink,$(ONLY)),$(PEERS)/flink/ready) ## Compare with Faust, Quix Streams, Bytewax, plain loops and Kafka Streams; half an hour.
	$(BIN)/python -m tests.bench.comparison --rounds $(ROUNDS) $(if $(MIX),--mix $(MIX)) $(if $(ONLY),--only $(ONLY))

# The peers have an environment of their own, because their dependencies conflict with those of ninezero. Those in Java share its files
# in `java`, and have jars of their own; the jars of Flink come only with ONLY=flink.
JAVA := tests/bench/peers/java
$(PEERS)/ready: tests/bench/peers/requirements.txt $(PEERS)/streams/ready
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install -q --disable-pip-version-check -r $<
	@touch $@

$(PEERS)/%/ready: $(wildcard $(JAVA)/*.java $(JAVA)/*/*)
	mvn -q -B -C -f $(JAVA)/$*/pom.xml dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/$(PEERS)/$*
	javac -cp '$(PEERS)/$*/*' -d $(PEERS)/$*/classes $(JAVA)/*.java $(JAVA)/$*/*.java
	@touch $@

# Every fault with SEEDS seeds, about 25 minutes a seed, or random faults for SOAK seconds. Results are in .run/faults.json.
faults: setup ## Break a deployment on purpose and check that nothing is lost or counted twice.
	$(BIN)/pytest -m switching tests/acceptance/test_policies_live.py
	$(BIN)/python -m tests.faults.run $(if $(SOAK),--soak $(SOAK),--seeds $(SEEDS))

browser: setup ## Check the board in a browser: all cases.
	$(BIN)/pytest -m 'browser or not browser' tests/integration/operations/test_board.py tests/integration/board

pictures: setup ## Renew the approved pictures of the board and those of the documentation.
	$(BIN)/python -m tests.integration.board.approve

upgrade-test: setup ## Replace the workers of one release by those of the next under load, and back: all cases.
	$(BIN)/pytest -m 'upgrade or not upgrade' tests/upgrade

# `make test` always uses the same seed; this target uses SEEDS random ones.
explore: setup ## Run the tests against models with new seeds.
	@for seed in $$(shuf -i 1-999999 -n $(SEEDS)); do \
		ACCEPTANCE_SEED=$$seed PUSH_SEED=$$seed POLICY_SEED=$$seed FAULT_SEED=$$seed \
		$(BIN)/pytest tests/acceptance/test_acceptance.py tests/acceptance/test_push_live.py tests/acceptance/test_policies_live.py tests/integration/pipeline/test_case_alerts.py \
		tests/integration/edge/test_device_faults.py tests/faults || exit 1; done

# Each parser of FUZZ for SECONDS, then hostile records on every topic of a running deployment, with new seeds for SECONDS (a seed
# takes a minute or two). Inputs that fail are kept in the temporary folder.
fuzz: setup ## Feed mutated input to every parser and hostile records to a running deployment.
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[fuzz]'
	@for parser in $(FUZZ); do \
		output=$$($(BIN)/python -m tests.fuzz.parsers $$parser -max_total_time=$(SECONDS) 2>&1) || { echo "$$output"; exit 1; }; \
		echo "$$parser: $$(echo "$$output" | grep -a '^Done ')"; done
	$(BIN)/python -m tests.fuzz.live --seconds $(SECONDS)

docs: setup ## Generate the reference pages and build the documentation into .run/site.
	$(BIN)/python -m ninezero.agents.reference
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

# ROOTS are suites of Debian, whose roots are created in the folder BARE. A clone of the last commit runs TARGETS in each. REUSE=1 keeps the roots.
BARE ?= .cache/bare
ROOTS ?= bookworm trixie
TARGETS ?= run test
bare: ## Try TARGETS on a bare Debian 12 and 13; needs root, debootstrap, 8 GB and an hour.
	@deploy/prerequisites.sh bare
	@for suite in $(ROOTS); do tests/packaging/bare_machine.sh $(BARE) $$suite $(TARGETS) || exit 1; done

prerequisites:
	@PYTHON="$(PYTHON)" deploy/prerequisites.sh $(NEEDS)

setup: prerequisites $(READY) ## Install the Python packages and the jars of the local Kafka.
$(READY): pyproject.toml constraints.txt streams/local_kafka/pom.xml | prerequisites
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[worker,embedded,dev]'
	$(BIN)/python -m ninezero.streams.local_kafka.jars
	@touch $@

engines: $(CLICKHOUSE)/ready $(ZOOKEEPER)/ready ## Install the ClickHouse and the ZooKeeper of the tests.
$(ON_ENGINES): engines

# The engine of the test server (tests/engines) has the same import name as the embedded one, so it has an environment of its own.
$(CLICKHOUSE)/ready: tests/engines/requirements.txt | prerequisites
	$(PYTHON) -m venv $(CLICKHOUSE)
	$(CLICKHOUSE)/bin/pip install -q --disable-pip-version-check -r tests/engines/requirements.txt
	@touch $@

# ZooKeeper keeps the state of replicated tables.
$(ZOOKEEPER)/ready: tests/engines/zookeeper/pom.xml | prerequisites
	mvn -q -B -C -f tests/engines/zookeeper/pom.xml dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/$(ZOOKEEPER)
	@touch $@

clean: ## Stop the local Kafka and remove everything that make created.
	-$(BIN)/ninezero kafka stop
	rm -rf .run .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis .venv
