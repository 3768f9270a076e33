# make run    score the built-in sample: makes .venv and installs the base on first use
# make demo   open the page in the browser: installs what it needs on first use
# make test   the whole check in .venv, with what training and testing need
# make pythons  the fast tests on the oldest and the newest Python that is here, NumPy 1.26 and 2
# make check  the same in the Python environment you are in
# make test-fast  what takes no training, servers or other processes, in a minute
# make coverage  the whole suite's coverage, a figure for each folder and pages with each file
# make bench-check  speed against the figures of tests/bench_figures.json, as ratios of one run
# make types the types alone
# make docs   the site of docs/ into build/site, links checked
# make fuzz   every parser of our own against random input for an hour (FERSTREAM_FUZZ_S seconds)
# make trials what was tried against it, by what was promised: held, weak, broken
# make lock   requirements.lock anew from pyproject.toml, with hashes
# make sbom   what is installed, as CycloneDX, into dist/; for a release
# make bench  speed of the default bundle and of the whole way on the sample

# One that MediaPipe is made for where there is one, else a newer one.
known = $(foreach p,$(1),$(shell \
	$(p) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, $(2)))' 2>/dev/null && echo $(p)))
PYTHON ?= $(firstword $(call known,python3 python3.11 python3.12 python3.10,12) \
	$(call known,python3 python3.14 python3.13,99))
VENV := .venv
BIN := $(VENV)/bin
SYSTEM := python3-venv libgl1 libglib2.0-0 libsm6 libice6 libxext6
# What the tests put ferstream against: a real RTSP camera, a broker, a browser, another reader of
# videos. Tests whose counterpart is missing are skipped.
COUNTERPARTS := chromium ffmpeg mosquitto gstreamer1.0-tools gstreamer1.0-plugins-base \
	gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly \
	gstreamer1.0-libav gstreamer1.0-rtsp python3-gi gir1.2-gstreamer-1.0 \
	gir1.2-gst-plugins-base-1.0 gir1.2-gst-rtsp-server-1.0

# For whatever runs before the project's own switch (engines/offline.py).
export ORT_DISABLE_TELEMETRY := 1

# Tests run in one process for each core, 6 at most; a file's tests stay in one (tests/conftest.py).
# WORKERS=0 runs them in this one.
CORES := $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2)
WORKERS ?= $(shell echo $$(($(CORES) < 6 ? $(CORES) : 6)))
PYTEST := OMP_NUM_THREADS=1 python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder

.PHONY: run demo test test-fast pythons check coverage types linked docs site fuzz trials lock sbom bench bench-check \
	system counterparts clean
.DELETE_ON_ERROR:

run: $(VENV)/.base
	$(BIN)/ferstream score sample

demo: $(VENV)/.demo
	$(BIN)/ferstream demo

test: $(VENV)/.test counterparts
	PATH="$(CURDIR)/$(BIN):$$PATH" $(MAKE) --no-print-directory check

test-fast: $(VENV)/.test
	PATH="$(CURDIR)/$(BIN):$$PATH" $(PYTEST) -q -m "not slow"

pythons: $(VENV)/.test
	$(BIN)/python tests/pythons.py

check:
	python -m ruff format --check .
	python -m ruff check .
	$(MAKE) --no-print-directory types
	$(PYTEST) --durations=30

coverage: $(VENV)/.test counterparts
	@export PATH="$(CURDIR)/$(BIN):$$PATH"; \
	$(PYTEST) -q --cov --cov-report=html:build/coverage; status=$$?; \
	for folder in ferstream stream engines training calibration demo; do \
	  printf '%-12s %s %%\n' $$folder $$(python -m coverage report --format=total --include="$$folder/*"); \
	done; \
	printf '%-12s %s %%\n' total $$(python -m coverage report --format=total); \
	exit $$status

bench-check: $(VENV)/.test
	$(BIN)/python -m tests.bench_check

types: linked
	python -m mypy

# The packages under one name, for what knows packages by where they lie.
linked:
	mkdir -p build/types/ferstream
	ln -sfn $(addprefix ../../../,stream engines training calibration demo) build/types/ferstream
	ln -sfn $(addprefix ../../../ferstream/,$(notdir $(wildcard ferstream/*.py ferstream/py.typed))) build/types/ferstream

SITE ?= build/site
docs: $(VENV)/.docs
	PATH="$(CURDIR)/$(BIN):$$PATH" $(MAKE) --no-print-directory site

# The same in the Python environment you are in.
site: linked
	NO_MKDOCS_2_WARNING=1 python -m mkdocs build --strict --site-dir $(SITE)

fuzz: $(VENV)/.test
	FERSTREAM_FUZZ_S=$${FERSTREAM_FUZZ_S:-3600} $(BIN)/python -m pytest -q tests/test_fuzz.py

trials: $(VENV)/.test counterparts
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tests/trials.py

lock: | $(BIN)/python
	$(BIN)/python -m venv build/tools
	build/tools/bin/python -m pip install -q uv==0.13.9
	build/tools/bin/uv pip compile -q --upgrade pyproject.toml -o requirements.lock

sbom: $(VENV)/.base
	$(BIN)/python -m venv build/tools
	build/tools/bin/python -m pip install -q cyclonedx-bom==7.5.0
	mkdir -p dist
	build/tools/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	  --of JSON -o dist/ferstream.cdx.json $(BIN)/python

bench: $(VENV)/.base
	$(BIN)/ferstream bundle bench
	$(BIN)/ferstream bench sample

# Shared libraries that the OpenCV wheel expects of the system, and Python's venv on Debian.
system:
	@if ! { python3 -c 'import ensurepip, venv' && /sbin/ldconfig -p | grep -q libGL.so.1 \
	    && /sbin/ldconfig -p | grep -q libgthread-2.0.so.0; } >/dev/null 2>&1; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -q && DEBIAN_FRONTEND=noninteractive \
	      apt-get install -y -q --no-install-recommends $(SYSTEM); \
	  else \
	    echo "system packages may be missing; on Debian: sudo apt-get install $(SYSTEM)" >&2; \
	  fi; \
	fi

counterparts:
	@if ! { command -v chromium && command -v mosquitto && command -v ffprobe \
	    && /usr/bin/python3 -c 'import gi; gi.require_version("GstRtspServer", "1.0")'; } \
	    >/dev/null 2>&1; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -q && DEBIAN_FRONTEND=noninteractive \
	      apt-get install -y -q --no-install-recommends $(COUNTERPARTS); \
	  else \
	    echo "some tests will be skipped; on Debian: sudo apt-get install $(COUNTERPARTS)" >&2; \
	  fi; \
	fi

$(BIN)/python: | system
	@test -n "$(PYTHON)" || { echo "Python 3.10 or newer is needed" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q -e '.[mediapipe]'
	@touch $@

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q -e '.[mediapipe,demo]'
	@touch $@ $(VENV)/.base

$(VENV)/.docs: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q -e '.[docs]'
	@touch $@ $(VENV)/.base

# All but PyTorch by hash, where the lock is made for this machine; PyTorch, and elsewhere all, after.
$(VENV)/.test: pyproject.toml requirements.lock | $(BIN)/python
	$(BIN)/python -m pip install -q --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q -e '.[test]'
	@touch $@ $(VENV)/.base $(VENV)/.demo

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
