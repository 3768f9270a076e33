# make run    score the built-in sample: makes .venv and installs the base on first use
# make demo   open the page in the browser: installs what it needs on first use
# make test   the whole check in .venv, with what training and testing need
# make check  the same in the Python environment you are in
# make types the types alone
# make fuzz   every parser of our own against random input for an hour (FERSTREAM_FUZZ_S seconds)
# make trials what was tried against it, by what was promised: held, weak, broken
# make lock   requirements.lock anew from pyproject.toml, with hashes
# make sbom   what is installed, as CycloneDX, into dist/; for a release
# make bench  speed of the default bundle and of the whole way on the sample

PYTHON ?= $(firstword $(foreach p,python3 python3.11 python3.12 python3.10,$(shell \
	$(p) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $(p))))
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

.PHONY: run demo test check types fuzz trials lock sbom bench system counterparts clean
.DELETE_ON_ERROR:

run: $(VENV)/.base
	$(BIN)/ferstream score sample

demo: $(VENV)/.demo
	$(BIN)/ferstream demo

test: $(VENV)/.test counterparts
	PATH="$(CURDIR)/$(BIN):$$PATH" $(MAKE) --no-print-directory check

check:
	python -m ruff format --check .
	python -m ruff check .
	$(MAKE) --no-print-directory types
	python -m pytest --durations=30

types:
	mkdir -p build/types/ferstream
	ln -sfn $(addprefix ../../../,stream engines training calibration demo) build/types/ferstream
	ln -sfn $(addprefix ../../../ferstream/,$(notdir $(wildcard ferstream/*.py ferstream/py.typed))) build/types/ferstream
	python -m mypy

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
	@test -n "$(PYTHON)" || { echo "Python 3.10, 3.11 or 3.12 is needed" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q -e .
	@touch $@

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q -e '.[demo]'
	@touch $@ $(VENV)/.base

# All but PyTorch by hash, where the lock is made for this machine; PyTorch, and elsewhere all, after.
$(VENV)/.test: pyproject.toml requirements.lock | $(BIN)/python
	$(BIN)/python -m pip install -q --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q -e '.[test]'
	@touch $@ $(VENV)/.base $(VENV)/.demo

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
