# Each target is one line. `make demo` and `make test` set up everything they need in .venv first.
PYTHON ?= python3
PHOTO ?= examples/duck.jpg
BIN := .venv/bin

.PHONY: demo test test-slow page-test cluster-test addon-test bench lint docs wheel train-smoke
demo: .venv/ready-matting ; $(BIN)/img2mv3d run $(PHOTO) -o out/
test: .venv/ready-matting,wonder3d,eval,usd,print,serve,dev ; OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2
test-slow: .venv/ready-matting,wonder3d,eval,usd,print,serve,dev ; $(BIN)/python -m pytest -m slow
page-test: .venv/ready-matting,wonder3d,eval,usd,print,serve,dev ; $(BIN)/python -m pytest -m slow tests/serve
cluster-test: .venv/ready-matting,cluster,cluster-test,dev ; $(BIN)/python -m pytest -m "slow or not slow" tests/cluster
addon-test: .venv/ready-matting,wonder3d,eval,usd,print,serve,dev .venv-bpy/ready ; $(BIN)/python -m pytest -m slow tests/client
bench: .venv/ready-matting,wonder3d,eval,usd,print,serve,dev ; $(BIN)/python -m experiments.benches.runs docs/benchmarks.md && $(BIN)/python -m experiments.benches.attention
lint: .venv/ready-matting,wonder3d,eval,usd,print,serve,dev ; $(BIN)/ruff check --config .ci/ruff.toml . && $(BIN)/ruff format --check --config .ci/ruff.toml . && $(BIN)/mypy --config-file .ci/mypy.ini
docs: .venv/ready-docs ; $(BIN)/mkdocs build --strict
wheel: .venv/ready-matting,wonder3d,eval,usd,print,serve,dev ; rm -rf build && $(BIN)/python -m build --wheel --no-isolation
train-smoke: .venv/ready-matting,wonder3d,eval,usd,print,serve,dev ; $(BIN)/img2mv3d train all --minutes 1 --toy -o runs/smoke

# one stamp for each set of extras
.venv/ready-%: setup.cfg .ci/constraints.txt .ci/install ; .ci/install $(PYTHON) $* && touch $@

# Blender as a Python module, in an environment of its own
.venv-bpy/ready: ; $(PYTHON) -m venv .venv-bpy && .venv-bpy/bin/pip install -q bpy && touch $@
