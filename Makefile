# `make study`, `make test` and `make bench` set up what they need; a second call installs nothing.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
OUT ?= runs/quickstart

.PHONY: study test stress bench lint docs clean

study: $(READY)
	$(VENV)/bin/kdstudy $(if $(wildcard $(OUT)/study.json),resume $(OUT),run quickstart --out $(OUT))
	[ -f $(OUT)/two-workers/.done ] || { \
	$(VENV)/bin/kdstudy train $(OUT) --trial best --workers 2 --out $(OUT)/two-workers && touch $(OUT)/two-workers/.done; }

# Those of tests/e2e start clusters, two at a time; what shares a study that was left alone is in one process. Both halves
# always run; the exit code of the recipe, which make prints, is 1 where the first failed, 2 where the second, 3 where both.
test: $(READY) lint
	@failed=0; set -x; \
	$(VENV)/bin/pytest --ignore tests/e2e -n 2 --dist loadfile || failed=1; \
	$(VENV)/bin/pytest tests/e2e -n 2 --dist loadgroup || failed=$$((failed + 2)); \
	exit $$failed

stress: $(READY)
	$(VENV)/bin/pytest -m stress

bench: $(READY)
	$(VENV)/bin/python -m tests.benchmarks

# the pages of docs/ as a site in site/, without a network; warnings are errors
docs: $(READY)
	$(VENV)/bin/python docs/generate.py
	$(VENV)/bin/zensical build --strict

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

clean:
	rm -rf $(VENV) build site *.egg-info
