# Kubernetes, written in Python. `make help` lists what can be done.
VENV := .venv
PYTHON := $(VENV)/bin/python
# Tests in two processes; those that need the machine itself stay in one (tests/conftest.py).
TWO := -n 2 --dist loadscope --no-loadscope-reorder
PACKAGES := containerd runc containernetworking-plugins nftables conntrack iproute2 busybox-static
.DEFAULT_GOAL := help
# Compiled modules are kept, whatever the machine says: tests start hundreds of processes.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help kills demo down test check attack compat fuzz test-systems test-vm bench bench-instructions bench-isolation bench-scheduler bench-workloads bench-policy bench-xds bench-dns bench-keda bench-mesh machine test-machine clean bench-network

help:  ## what can be done here
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/bin/python:
	@python3 -m venv $(VENV) || (apt-get update -q && apt-get install -y -q python3-venv && python3 -m venv --clear $(VENV))

$(VENV)/.run: pyproject.toml | $(VENV)/bin/python
	@echo "Installing Tiphys into $(VENV)"
	@$(PYTHON) -m pip install -q --disable-pip-version-check -e . && touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	@$(PYTHON) -m pip install -q --disable-pip-version-check -e '.[dev]' && touch $@ $(VENV)/.run

machine:  ## install what containers need (Debian, root); does nothing elsewhere
	@bash scripts/machine.sh $(PACKAGES)

test-machine: machine
	@bash scripts/machine.sh etcd-server

demo: $(VENV)/.run machine  ## from nothing to a served application
	@$(PYTHON) examples/hello/demo.py

down:  ## remove the demo's cluster and every trace of it
	@$(VENV)/bin/tiphys down --purge

test: $(VENV)/.dev test-machine  ## all checks and tests
	@$(VENV)/bin/ruff check -q .
	@$(VENV)/bin/ruff format -q --check .
	@$(VENV)/bin/lint-imports --no-cache > $(VENV)/.imports || { cat $(VENV)/.imports; exit 1; }
	@$(VENV)/bin/mypy
	@$(PYTHON) -m pytest $(TWO)

check: $(VENV)/.dev  ## lint, types and import contracts alone
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/lint-imports --no-cache && $(VENV)/bin/mypy

test-systems: $(VENV)/.dev test-machine  ## the tests that take minutes
	@$(PYTHON) -m pytest -m slow tests

VM_TESTS := $(addprefix tests/e2e/,test_cores.py test_containers_*.py test_pressure.py test_devices.py test_staticpods.py \
  test_shutdown.py test_policy.py test_swap.py test_hugepages.py) --deselect tests/e2e/test_devices.py::test_the_example_of_a_driver
test-vm: $(VENV)/.dev machine  ## nodes on control groups of version 2, in a virtual machine (root, QEMU)
	@bash scripts/machine.sh qemu-system-x86 debootstrap
	@bash scripts/vm.sh $(VENV) $(or $(TESTS),$(VM_TESTS))

attack: $(VENV)/.dev test-machine  ## everything in docs/security.md, attacked, the slow ones too
	@$(PYTHON) -m pytest -m "" tests/attack

kills: $(VENV)/.dev test-machine  ## a server under writers is killed KILLS=n times on SQLite, and on etcd
	@TIPHYS_KILLS=$(or $(KILLS),500) $(PYTHON) -m pytest -m "" -s tests/attack/test_kills.py

compat:  ## the clients people use, and helm, against a cluster (from PyPI, in an environment of their own)
	@bash scripts/compat.sh $(VENV)-compat
	@PATH="$(CURDIR)/$(VENV)-compat/bin:$$PATH" $(VENV)-compat/bin/python -m pytest tests/compat

fuzz: $(VENV)/.dev  ## random requests for MINUTES=n; prints the seed of what breaks the server
	@$(PYTHON) -m tests.fuzz.sockets --minutes $(or $(MINUTES),5) $(if $(SEED),--seed $(SEED))

bench: $(VENV)/.dev  ## measure, and print the table beside the figures to reach
	@$(PYTHON) bench/bench.py $(if $(PEER),--peer $(PEER))

bench-instructions: $(VENV)/.dev  ## instructions of an operation, however busy the machine (valgrind)
	@$(PYTHON) bench/instructions.py $(if $(ONLY),--only $(ONLY))

bench-isolation: $(VENV)/.dev  ## what one account's rush costs another, and clients that do not read
	@$(PYTHON) bench/isolation.py

bench-scheduler: $(VENV)/.dev  ## the same for the scheduler, alone and end to end
	@$(PYTHON) bench/scheduler.py

bench-workloads: $(VENV)/.dev  ## 1,000 replicas and 5,000 Deployments on hollow nodes
	@$(PYTHON) bench/workloads.py

bench-policy: $(VENV)/.dev  ## 1,000 pods under 100 network policies (root, nft)
	@$(PYTHON) bench/policy.py

bench-network: $(VENV)/.dev  ## 5,000 services with 50,000 endpoints in the kernel (root, nft)
	@$(PYTHON) bench/network.py

bench-xds: $(VENV)/.dev  ## a changed endpoint's way to 100 xDS clients
	@$(PYTHON) bench/endpoint_push.py

bench-dns: $(VENV)/.dev  ## answers a second of the cluster's DNS server
	@$(PYTHON) bench/cluster_dns.py

bench-keda: $(VENV)/.dev  ## from zero to one, and what a look at a trigger costs
	@$(PYTHON) -m bench.keda

bench-mesh: $(VENV)/.dev test-machine  ## what two sidecars cost a request (root, containerd)
	@$(PYTHON) -m bench.mesh

clean:
	rm -rf $(VENV) $(VENV)-compat .pytest_cache .mypy_cache .ruff_cache
