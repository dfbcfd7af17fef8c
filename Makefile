# Every target sets up what it needs: the first command in a fresh clone may be any of them.
PYTHON ?= python3
# Another TensorFlow than the pinned one: make test TENSORFLOW=2.20
TENSORFLOW ?=
# Each TensorFlow and each Python has an environment of its own.
VENV := .venv$(TENSORFLOW)$(if $(filter-out python3,$(PYTHON)),-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DATASET ?= shapes
RUNS ?= runs

.PHONY: setup test test-all lint demo docs links repository figures notebooks bench bench-all lock clean

setup: $(READY)

# Two at a time: most of a test is one process that starts TensorFlow and traces graphs.
PYTEST := $(BIN)/python -m pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder \
	--durations=25 -rs

test: $(READY)
	$(PYTEST)

test-all: $(READY)
	$(PYTEST) -m ""

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

demo: $(READY)
	$(BIN)/python -m evaluation.demo --dataset=$(DATASET) --workdir=$(RUNS)/demo

# The site, into build/site, and every code block of README and docs.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	$(PYTEST) --dist=worksteal -m docs

# Whether the web's pages that the docs point to are there; needs a network.
links: $(READY)
	SASSL_CHECK_LINKS=1 $(BIN)/python -m pytest tests/docs/test_links.py

# Writes where the repository lives into the notebooks, into what PyPI shows and into the docs.
repository:
	$(if $(ADDRESS),,$(error Give ADDRESS=owner/name of the repository on GitHub))
	sed -i "s#OWNER/sassl_tf#$(ADDRESS)#g" notebooks/*.ipynb setup.py docs/performance.md

figures: $(READY)
	$(BIN)/python -m docs.figures $(wildcard $(SHARED)/magenta)

# The notebooks from start to end, with small settings.
notebooks: $(READY)
	$(BIN)/python -m notebooks.execute

# Benchmarks need Magenta's mobile model and folders of images. HUB is the SavedModel of v1-256:
# unless given, a stand-in of the same operations with made-up weights.
SHARED ?= $(or $(SASSL_SHARED),../shared)
HUB ?= build/hub_module
STYLEAUG ?=
RESULTS := benchmarks/results
IMAGES := $(SHARED)/data/imagenette128
STYLES := $(SHARED)/data/style256/test
STYLIZERS := --mobile=$(SHARED)/magenta --content=$(IMAGES)/val --styles=$(STYLES)
BENCH = $(BIN)/python -m benchmarks

# Short versions of all but domains and at_size, and what moved against the committed results.
FRESH := build/bench
bench: $(READY) | $(SHARED)/magenta $(IMAGES) $(STYLES)
	mkdir -p $(FRESH)
	$(BENCH).views --size=96 --repeats=5 --output=$(FRESH)/views.json
	$(BENCH).view_pipelines --images=$(SHARED)/data/voc100/JPEGImages --size=96 --rounds=2 \
		--output=$(FRESH)/view_pipelines.json
	$(BENCH).pretraining --images=$(IMAGES)/train --case=simclr/resnet18/96/64 --turns=2 \
		--output=$(FRESH)/pretraining.json
	$(BENCH).stylizers $(STYLIZERS) --contents=64 --repeats=3 --output=$(FRESH)/stylizers.json
	$(BENCH).l2_sweep --solver=lbfgs --output=$(FRESH)/l2_sweep.json
	$(BENCH).extraction --images=$(IMAGES) --repeats=3 --output=$(FRESH)/extraction.json
	$(BENCH).data_service --workers=1 --workers=4 --batches=20 --elements=90 \
		--output=$(FRESH)/data_service.json
	$(BENCH).latency --images=1024 --seconds=2 --output=$(FRESH)/latency.json
	$(BENCH).compare --fresh=$(FRESH)

# All of it, into the committed results; an hour, on an idle machine. PyTorch, albumentations,
# opencv-python-headless and kornia are compared with where they are installed.
bench-all: $(READY) $(HUB)/saved_model.pb | $(SHARED)/magenta $(IMAGES) $(STYLES)
	$(BENCH).views --output=$(RESULTS)/views.json
	$(BENCH).view_pipelines --images=$(SHARED)/data/voc100/JPEGImages \
		--output=$(RESULTS)/view_pipelines.json
	$(BENCH).pretraining --images=$(IMAGES)/train --mobile=$(SHARED)/magenta \
		--output=$(RESULTS)/pretraining.json
	$(BENCH).stylizers $(STYLIZERS) --hub=$(HUB) --photos=$(SHARED)/data/voc100/JPEGImages \
		--styleaug=$(STYLEAUG) --output=$(RESULTS)/stylizers.json
	$(BENCH).domains --mobile=$(SHARED)/magenta --styles=$(STYLES) --contents=textures=$(STYLES)/textures \
		--contents=paintings=$(STYLES)/paintings_modern --contents=retina=$(SHARED)/data/fundus128 \
		--contents=photographs=$(IMAGES)/val --output=$(RESULTS)/domains.json
	$(BENCH).l2_sweep --output=$(RESULTS)/l2_sweep.json
	$(BENCH).extraction --images=$(IMAGES) --output=$(RESULTS)/extraction.json
	$(BENCH).data_service --output=$(RESULTS)/data_service.json
	$(BENCH).latency --output=$(RESULTS)/latency.json
	$(BENCH).at_size --output=$(RESULTS)/at_size.json

$(SHARED)/%:
	$(error There is no $@: the benchmarks need Magenta's files and images, as docs/CONTRIBUTING.md \
	says. Give their folder as SHARED=FOLDER)

build/hub_module/saved_model.pb: $(READY)
	$(BIN)/python -m tests.stylizers.hub_module build/hub_module

$(READY): requirements.lock setup.py
	@$(PYTHON) -c "import sys; sys.exit('The pinned versions need Python 3.11 or later, and \
	$(PYTHON) is older: give PYTHON=python3.11. The environment is then .venv-python3.11.' if sys.version_info < (3, 11) else 0)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -r requirements.lock
	$(if $(TENSORFLOW),$(BIN)/pip install --quiet "tensorflow==$(TENSORFLOW).*" \
		"tf-keras==$(TENSORFLOW).*" "tensorboard==$(TENSORFLOW).*")
	$(BIN)/pip install --quiet --no-deps -e .
	touch $(READY)

# Pins what setup.py asks for. The pinned versions need the Python that this runs on, or a later one.
lock: $(READY)
	$(BIN)/pip-compile --quiet --extra=dev --strip-extras --allow-unsafe --no-emit-index-url \
		--no-emit-trusted-host --no-header --no-emit-find-links --output-file=requirements.lock setup.py

clean:
	rm -rf .venv* build dist *.egg-info
