# What a developer runs. Each target first makes the environment if there is none:
# .venv with the maintained family, or `make <target> PYTHON=<yours>`.
FAMILY ?= maintained
VENV ?= .venv$(if $(filter original,$(FAMILY)),-original)
PYTHON ?= $(VENV)/bin/python
BASE_PYTHON ?= python3
WORKERS ?= 2

ifeq ($(PYTHON),$(VENV)/bin/python)
SETUP := $(VENV)/.installed
endif
ifeq ($(FAMILY),original)
# Older and newer names of the same option: what pip builds mmcv with.
CONSTRAINT := PIP_CONSTRAINT=requirements/original-build.txt \
	PIP_BUILD_CONSTRAINT=requirements/original-build.txt
endif

# One thread a process: the tests run in several, and compare runs bit by bit.
PYTEST = OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n $(WORKERS)

.DEFAULT_GOAL := help
.PHONY: all coverage demo demo-seg docs format help lint setup test test-host test-slow type

demo: $(SETUP)  ## train and evaluate the main job: a small detector, by a big one
	$(PYTHON) tools/train.py configs/frcnn_kd.py

demo-seg: $(SETUP)  ## the same for segmentation: a small PSPNet, by a big one
	$(PYTHON) tools/train.py configs/seg_skd.py

# The slowest are named: that is where the next minute is won.
test: $(SETUP)  ## tests and doctests, but for the long ones
	$(PYTEST) -m 'not slow' --durations=30

test-slow: $(SETUP)  ## the long ones: killed runs, several processes, every kind of host
	$(PYTEST) -m slow --durations=30

coverage: $(SETUP)  ## both, and which lines they reach
	$(PYTEST) --cov=kd_plugins --cov-report=term

test-host: $(SETUP)  ## those that run the hosts themselves
	$(PYTEST) -m host

lint: $(SETUP)  ## style, imports, docstrings, format
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

type: $(SETUP)  ## strict types
	$(PYTHON) -m mypy kd_plugins tools

format: $(SETUP)  ## mend what can be mended
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

docs: $(SETUP)  ## the site, in site/, with the API from the docstrings
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict

all: lint type docs test test-slow  ## what a change must pass

setup: $(SETUP)  ## the environment alone (FAMILY=original VENV=... for the other one)

$(VENV)/.installed: pyproject.toml setup.py
	$(BASE_PYTHON) -m venv $(VENV)
	$(CONSTRAINT) $(PYTHON) -m pip install -e '.[$(FAMILY),demo,report,dev]'
	touch $@

help:  ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12
