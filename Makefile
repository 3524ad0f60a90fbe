# Two commands: `make run` starts the dashboard, `make test` checks everything. Both install what they need.
PYTHON ?= python3.11
PORT ?= 8501
ADDRESS ?= 127.0.0.1
# The index to take torch from; empty is the ordinary one. README, "CPU only".
TORCH_INDEX ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# One thread for each test worker: several with two each would fight over two cores. One worker more than cores, for some wait for
# servers and clocks.
TEST_WORKERS ?= 3
PYTEST_ARGS ?=
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --timeout 600 --durations 40
COMPILE := --quiet --universal --python-version 3.11 --no-annotate --no-header
COMMA := ,
# Puts a first line on a file that says what it is.
headed = { echo '\# Made by `make constraints`: $(2)'; cat $(1); } > $(1).new && mv $(1).new $(1)
TORCH := torch triton $(shell sed -n 's/^\(\(nvidia\|cuda\)[a-z0-9-]*\)==.*/\1/p' constraints.txt)

.PHONY: run workshop install install-dev browser nginx models test screenshots pictures lint bundled-results model-list zoo bench constraints audit clean

run: install
	$(BIN)/python -m core run --address $(ADDRESS) --port $(PORT)

# A lesson for a room: models and all that the tour shows at hand first, then a server for everybody in this network. Without a
# network SmolLM2 is left out, and the tour does not need it.
workshop: install
	-$(BIN)/python -m core models add smollm2-135m
	$(BIN)/python -m core tour --preload
	$(BIN)/python -m core run --workshop --address $(if $(filter file,$(origin ADDRESS)),0.0.0.0,$(ADDRESS)) --port $(PORT)

install: .venv/installed
install-dev: .venv/installed-dev

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: requirements.txt constraints.txt | .venv/bin/python
	$(if $(TORCH_INDEX),$(PIP) install --no-deps --index-url $(TORCH_INDEX) $$(grep '^torch==' requirements.txt))
	$(PIP) install -r requirements.txt -c constraints.txt
	touch $@

.venv/installed-dev: requirements-dev.txt requirements-cluster.txt .venv/installed
	$(PIP) install -r requirements-dev.txt -c constraints.txt
	touch $@

# After a change of any requirements file: every version below them (constraints.txt), and what the image installs, by digest
# (requirements.lock). torch is apart, for its build differs by machine.
constraints: install-dev
	$(PIP) install uv==0.13.9
	$(BIN)/uv pip compile requirements-dev.txt $(COMPILE) -o constraints.txt
	$(call headed,constraints.txt,every version that is installed$(COMMA) what lies below the requirements too.)
	$(BIN)/uv pip compile requirements.txt $(COMPILE) -c constraints.txt --generate-hashes $(addprefix --no-emit-package ,$(TORCH)) \
		-o requirements.lock
	$(call headed,requirements.lock,what the image installs$(COMMA) by digest; torch$(COMMA) whose build differs by machine$(COMMA) is apart.)

# Known weaknesses of what is installed, where the index answers.
audit: install
	$(PIP) install pip-audit==2.10.1
	$(BIN)/pip-audit --disable-pip --no-deps -r constraints.txt

browser: install-dev
	$(BIN)/python -m tests.helpers.browser --install

# The system's nginx, else the package manager's, unpacked into .venv; says so where there is neither.
nginx: install-dev
	$(BIN)/python -m tests.helpers.nginx --install

models: install
	$(BIN)/python -m core models add smollm2-135m

# Workers take work from each other when they have none left; the slowest forty are printed. What needs the machine for itself comes
# after. Where PYTEST_ARGS name tests of one part only, the other finds none (5).
test: install-dev browser nginx models
	@$(PYTEST) -n $(TEST_WORKERS) --dist worksteal --alone without $(PYTEST_ARGS); together=$$?; \
	$(PYTEST) --alone only $(PYTEST_ARGS); alone=$$?; \
	case "$$together $$alone" in "0 0" | "0 5" | "5 0") ;; *) exit 1 ;; esac

# Every page as it is seen, in both themes and on a telephone, into screenshots/, to be looked at.
screenshots: install-dev browser
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.browser.screens

# Those in README.md and docs/tutorial.md anew, after a page has changed.
pictures: install-dev browser
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.browser.pictures

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bundled-results: install
	store=$$(mktemp -d); HEADSCOPE_STORE=$$store OMP_NUM_THREADS=1 $(BIN)/python -m core.sharing.bundle; rm -rf $$store

model-list: install
	$(BIN)/python -m core.models.supported

# Every architecture of the model library, tiny, beside its own eager module; writes docs/architectures.md.
zoo: install-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.zoo.table --workers $(TEST_WORKERS)

# The ratios, and at full size what `make test` runs small: simulations of the verdicts (200 models for 60), kills under load (60 for 5).
bench: install-dev models
	$(BIN)/python -m benchmarks
	HEADSCOPE_SIMULATIONS=full OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_WORKERS) tests/verdicts
	HEADSCOPE_KILLS=60 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s tests/load/test_kills.py

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
