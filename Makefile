# Two commands do all set-up: `make app` runs the page, `make test` runs every test in a browser of its own.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: app test lint

app: $(VENV)/app.stamp
	$(BIN)/python app.py $(ARGS)

test: $(VENV)/test.stamp
	$(BIN)/python tests/browser.py
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/test.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/app.stamp: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@

$(VENV)/test.stamp: requirements.txt tests/requirements.txt $(VENV)/app.stamp
	$(BIN)/python -m pip install --quiet -r tests/requirements.txt
	touch $@
