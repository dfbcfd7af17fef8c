# Every target sets up what it needs: the first command in a fresh clone may be any of them.
PYTHON ?= python3
# Another TensorFlow than the pinned one, in an environment of its own: make test TENSORFLOW=2.20
TENSORFLOW ?=
VENV := .venv$(TENSORFLOW)
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DATASET ?= shapes
RUNS ?= runs

.PHONY: setup test test-all lint demo bench lock clean

setup: $(READY)

# Two at a time: most of a test is one process that starts TensorFlow and traces graphs.
PYTEST := $(BIN)/python -m pytest --numprocesses=2 --dist=loadfile

test: $(READY)
	$(PYTEST)

test-all: $(READY)
	$(PYTEST) -m ""

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

demo: $(READY)
	$(BIN)/python -m training.demo --dataset=$(DATASET) --workdir=$(RUNS)/demo

# Fidelity needs Magenta's mobile model and held-out images; see benchmarks/stylizers.py. HUB is the
# SavedModel of v1-256: unless given, a stand-in of the same operations with made-up weights.
SHARED ?= $(or $(SASSL_SHARED),../shared)
HUB ?= build/hub_module
STYLEAUG ?=
bench: $(READY) $(HUB)/saved_model.pb
	$(BIN)/python -m benchmarks.views --output=benchmarks/results/views.json
	$(BIN)/python -m benchmarks.evaluation --images=$(SHARED)/data/imagenette128 \
		--output=benchmarks/results/evaluation.json
	$(BIN)/python -m benchmarks.stylizers --mobile=$(SHARED)/magenta \
		--content=$(SHARED)/data/imagenette128/val --styles=$(SHARED)/data/style256/test \
		--hub=$(HUB) --photos=$(SHARED)/data/voc100/JPEGImages --styleaug=$(STYLEAUG) \
		--output=benchmarks/results/stylizers.json

build/hub_module/saved_model.pb: $(READY)
	$(BIN)/python -m tests.stylizers.hub_module build/hub_module

$(READY): requirements.lock setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -r requirements.lock
	$(if $(TENSORFLOW),$(BIN)/pip install --quiet "tensorflow==$(TENSORFLOW).*" \
		"tf-keras==$(TENSORFLOW).*" "tensorboard==$(TENSORFLOW).*")
	$(BIN)/pip install --quiet --no-deps -e .
	touch $(READY)

# Pins what setup.py asks for, on the oldest Python that is tested.
lock:
	$(BIN)/pip-compile --quiet --extra=dev --strip-extras --allow-unsafe --no-emit-index-url \
		--no-emit-trusted-host --no-header --no-emit-find-links --output-file=requirements.lock setup.py

clean:
	rm -rf .venv* build dist *.egg-info
