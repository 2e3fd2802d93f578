# tokenfleet: everything a newcomer types. `make` lists the targets.
#
# PYTHON=python3.12   the interpreter to build .venv with (3.10 to 3.13)
# TORCH=torch==X      another torch build than the pinned CPU one
# KILLS=100           how many processes `make soak` kills, of trainings and of evaluations
# MINUTES=10          of random instances for `make fuzz` and `make sanitize`
# FIRST_SEED=5000     where `make fuzz` begins; a run prints where the next one goes on

PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
NATIVE_SOURCES := $(wildcard envs/engine/cpp/*) CMakeLists.txt
CPP := $(wildcard envs/engine/cpp/*.?pp tests/engine/cpp/*.cpp)
CPP_FLAGS := -std=c++20 -fvisibility=hidden -Wall -Wextra -Wpedantic -Wshadow -Wold-style-cast -Wconversion -Werror
DEMO := runs/demo
DEMO_STEPS ?= 400_000
KILLS ?= 10
MINUTES ?= 1
FIRST_SEED ?= 0
BASELINES := random,max_clock,least_work,careful_operator,feedback_capping,greedy_efficiency,operator,supervisor

.DEFAULT_GOAL := help
.PHONY: help install demo test soak check format benchmark contenders leaderboard robustness calibration validate fuzz sanitize clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

install: $(STAMP)  ## create .venv, install pinned dependencies, compile the native engine

$(VENV)/.checked:
	@$(PYTHON) -c 'import sys; ok = (3, 10) <= sys.version_info[:2] <= (3, 13); sys.exit(0 if ok else 1)' 2>/dev/null \
	  || { echo "tokenfleet needs Python 3.10 to 3.13 as '$(PYTHON)'; try: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	  || { echo "Python's venv module is missing; on Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' \
	  || { echo "Python's headers are missing; on Debian or Ubuntu: apt-get install python3-dev"; exit 1; }
	@command -v $${CXX:-g++} >/dev/null \
	  || { echo "No C++20 compiler found; on Debian or Ubuntu: apt-get install g++"; exit 1; }
	@mkdir -p $(VENV) && touch $@

$(VENV)/.dependencies: $(VENV)/.checked constraints.txt pyproject.toml
	@echo "installing dependencies (about 1 GB, a minute or two) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@grep -v '^torch==' constraints.txt > $(VENV)/constraints.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check -c $(VENV)/constraints.txt \
	  "$(TORCH)" scikit-build-core nanobind cmake ninja \
	  $$($(BIN)/python tools/requirements.py dev)
	@touch $@

$(STAMP): $(VENV)/.dependencies $(NATIVE_SOURCES)
	@echo "compiling the native engine ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

demo: $(STAMP)  ## learn on the default scenario, evaluate beside every baseline (two to four minutes)
	@rm -rf $(DEMO)
	@$(BIN)/python tune.py policy=linear_feedback feedback_generations=6 hydra.run.dir=$(DEMO)/feedback
	@$(BIN)/python train.py experiment=feedback policy.base=$(DEMO)/feedback/tuned.yaml algo.sigma=0.05 total_timesteps=$(DEMO_STEPS) threads=2 hydra.run.dir=$(DEMO)/train
	@$(BIN)/python evaluate.py env=fleet_setpoints 'policies=[$(BASELINES),$(DEMO)/feedback/tuned.yaml]' checkpoint=$(DEMO)/train episodes=50 n_envs=50 hydra.run.dir=$(DEMO)/evaluation

test: $(STAMP)  ## run the tests
	@$(BIN)/python -m pytest -n 2 --dist loadfile -q

soak: $(STAMP)  ## kill trainings and evaluations at random moments, resume and compare them (KILLS=10 of each)
	@for tool in $(wildcard tools/soak_*.py); do \
	  $(BIN)/python -m tools.$$(basename $$tool .py) --kills $(KILLS) --seed $$(date +%s) || exit 1; done

check: $(STAMP)  ## ruff, mypy, clang-format, and compiler warnings as errors
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy -p tokenfleet.envs -p tokenfleet.policies -p tokenfleet.evaluation -p tokenfleet.configs -p tokenfleet.cli \
	  -p calibration -p benchmarks -p tools
	@$(BIN)/clang-format --dry-run -Werror $(CPP)
	@$${CXX:-g++} $(CPP_FLAGS) -fsyntax-only -Ienvs/engine/cpp \
	  -isystem $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include"))') \
	  -isystem $$($(BIN)/python -m nanobind --include_dir) $(filter %.cpp,$(CPP))

format:  ## apply ruff's fixes, ruff format and clang-format
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format . ; $(BIN)/clang-format -i $(CPP)

benchmark: $(STAMP)  ## measure engine and training throughput
	@$(BIN)/python -m benchmarks.engine
	@$(BIN)/python -m benchmarks.training

contenders: $(STAMP)  ## run every shipped policy on every shipped scenario; writes docs/controllers.md (resumable)
	@$(BIN)/python -m tokenfleet.evaluation.contenders --docs docs

leaderboard: $(STAMP)  ## train on every benchmark, meet every rule on test episodes; writes docs/leaderboard.md (resumable)
	@$(BIN)/python -m tokenfleet.evaluation.leaderboard --docs docs

robustness: $(STAMP)  ## meet learned policies and the best rules under shifts; writes docs/robustness.md (resumable)
	@$(BIN)/python -m tokenfleet.evaluation.robustness --docs docs

calibration: $(STAMP)  ## recompute every measured coefficient and print its error
	@$(BIN)/python -m calibration.fit

validate: $(STAMP)  ## compare what the model predicts with what others measured; writes docs/accuracy.md
	@$(BIN)/python -m calibration.claims

fuzz: $(STAMP)  ## run random instances in both engines for MINUTES=1; prints the smallest counter-example
	@$(BIN)/python -m tools.fuzz --minutes $(MINUTES) --first-seed $(FIRST_SEED)

sanitize: $(STAMP)  ## run the native engine under sanitizers of memory, undefined behaviour and threads, MINUTES=1 of instances
	@tools/sanitize.sh $(MINUTES)

clean:  ## remove .venv and everything built
	rm -rf $(VENV) build
