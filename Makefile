# The commands of a developer and an operator. `make up` and `make test` need nothing but Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv
INSTALL := $(UV) pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r
RANDOM_KEY := $(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(48))'
LOCK := $(UV) pip compile --quiet --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 pyproject.toml

.PHONY: up test test-sqlite test-postgres test-browser test-js check bench faults rolling-restart lock lock-current

## Run Bough: installs, makes keys, migrates, serves, prints a link that signs the first administrator in.
up: .venv/.base
	@$(BIN)/python manage.py up

## Run every test: SQLite, PostgreSQL, a real browser.
test: test-sqlite test-postgres test-browser test-js

test-sqlite: .venv/.test
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup -m "not browser and not postgres"

# What stores and reads rows, on PostgreSQL; each run starts a server of its own.
test-postgres: .venv/.test
	BOUGH_TEST_DATABASE=postgres $(BIN)/python -m pytest -q -n 2 -m "not browser and not slow" tests/conversations tests/accounts tests/core/test_logs.py tests/core/test_locks.py

test-browser: .venv/.test
	$(BIN)/python -m pytest -q -n 2 -m browser

test-js:
	@if command -v node > /dev/null; then node --test tests/js/; else echo "No Node.js here: the tests of pure JavaScript are skipped."; fi

## Lint, types, walls, migrations, production settings, locks.
check: .venv/.dev lock-current
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/djade --check --target-version 5.2 $$(git ls-files 'templates/*.html')
	$(BIN)/lint-imports
	SECRET_KEY=for-reading-the-settings-while-types-are-checked FIELD_KEY=types $(BIN)/mypy apps config
	SECRET_KEY=$$($(RANDOM_KEY)) FIELD_KEY=$$($(RANDOM_KEY)) SITE_URL=https://chat.example.org TRUSTED_PROXIES=127.0.0.1 \
	  BOUGH_DATA_DIR=$$(mktemp -d) sh -c '$(BIN)/python manage.py makemigrations --check --dry-run && $(BIN)/python manage.py check --deploy --fail-level WARNING'

## Measure: live text beside a raw relay, opening long conversations; prints tables.
bench: .venv/.test
	$(BIN)/python -m bench

## Have the tests of faults write docs/faults.md; ONLY=tests/… runs some and keeps the rows of the others.
faults: .venv/.test
	$(BIN)/python -m tests.fault_table $(ONLY)

## Restart two web processes behind nginx under running answers; prints what readers and senders saw.
rolling-restart: .venv/.test
	$(BIN)/python -m pytest -q -s tests/process/test_rolling_restart.py

## Break everything at random for an hour, in each shape, while twenty people use it. SOAK_MINUTES, SOAK_SHAPE, SOAK_USERS, SOAK_SEED.
soak: .venv/.test
	$(BIN)/python -m tests.soak

## Write the locks anew from the ranges in pyproject.toml; hashes, no addresses.
lock: .venv/.uv
	$(LOCK) -o requirements/base.txt
	$(LOCK) --extra test -o requirements/test.txt
	$(LOCK) --extra test --extra dev -o requirements/dev.txt

# With the present lock as preference, compiling again must change nothing.
lock-current: .venv/.uv
	@for kind in "base:" "test:--extra test" "dev:--extra test --extra dev"; do \
	  name=$${kind%%:*}; fresh=$$(mktemp); cp requirements/$$name.txt $$fresh; \
	  $(LOCK) $${kind#*:} -o $$fresh && diff -q requirements/$$name.txt $$fresh > /dev/null \
	    || { echo "requirements/$$name.txt is not current: run make lock."; exit 1; }; \
	done

.venv/.uv: requirements/uv.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

.venv/.base: .venv/.uv requirements/base.txt
	@$(INSTALL) requirements/base.txt
	@touch $@

.venv/.test: .venv/.base requirements/test.txt
	@$(INSTALL) requirements/test.txt
	@touch $@

.venv/.dev: .venv/.test requirements/dev.txt
	@$(INSTALL) requirements/dev.txt
	@touch $@
