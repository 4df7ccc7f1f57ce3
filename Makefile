# make demo     four live rooms on this machine, the real daemon, the alerts as they fire
# make run      the daemon with config/monitor.yaml
# make test     every test; installs what they need where it may
# make test-openvino    those of the networks, with OpenVINO, in a virtual environment of their own
# make check    ruff, mypy, import-linter
# make lock     resolve deploy/requirements/*.txt anew (needs uv)
#
# PROFILE=cpu|gpu|openvino chooses the hashed list that is installed.

PROFILE ?= cpu
PYTHON ?= $(firstword $(foreach v,python3.11 python3.12 python3.13 python3,$(shell command -v $(v) 2>/dev/null)))
VENV := .venv
BIN := $(VENV)/bin
LISTS := deploy/requirements
PIP_INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps

.PHONY: install demo run test test-openvino test-requirements check lock clean

install: $(VENV)/.installed-$(PROFILE)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name it with make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "python3 cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }

$(VENV)/.installed-$(PROFILE): $(BIN)/python $(LISTS)/$(PROFILE).txt pyproject.toml
	@echo "installing $(LISTS)/$(PROFILE).txt into $(VENV), about a minute ..."
	@rm -f $(VENV)/.installed-* && $(BIN)/pip uninstall --quiet --yes onnxruntime onnxruntime-gpu opencv-python opencv-python-headless 2>/dev/null || true
	@$(PIP_INSTALL) -r $(LISTS)/$(PROFILE).txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: install
	@$(BIN)/monitor demo

run: install
	@$(BIN)/monitor run --config config/monitor.yaml

$(VENV)/.installed-test: $(VENV)/.installed-$(PROFILE) $(LISTS)/test.txt
	@echo "installing $(LISTS)/test.txt ..."
	@$(PIP_INSTALL) -r $(LISTS)/test.txt
	@touch $@

test-requirements: $(VENV)/.installed-test
	@sh tests/install_system_packages.sh
	@sh tests/fetch_test_detector.sh $(BIN)/pip

test: test-requirements
	@$(BIN)/pytest

test-openvino:
	@$(MAKE) --no-print-directory VENV=build/openvino PROFILE=openvino test-requirements
	@build/openvino/bin/pytest tests/faces/test_choice.py tests/faces/test_packs.py tests/faces/test_quality_network.py \
		tests/faces/test_pool.py tests/faces/test_confinement.py

check: $(VENV)/.installed-test
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

lock:
	@sh $(LISTS)/lock.sh

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
