"""Fixtures every test may use: a cluster in this process, and what the machine has."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from itertools import cycle

import pytest

from tiphys.apiserver.workers.pool import Bursts
from tiphys.client import compaction, informer
from tiphys.testing import LocalCluster
from tiphys.testing.cluster import free_port


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--api-workers", type=int, default=0, help="processes of each API server that is started"
    )


@pytest.fixture(autouse=True)
def served_by_workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --api-workers N, connections go to the workers in turn, whoever they are from."""
    count = request.config.getoption("--api-workers")
    if count:
        burst = cycle([False, True])
        monkeypatch.setattr(LocalCluster, "workers", count)
        monkeypatch.setattr(Bursts, "is_one", lambda *_: next(burst))


@pytest.fixture
async def server() -> AsyncIterator[LocalCluster]:
    """An API server alone."""
    async with LocalCluster() as cluster:
        yield cluster


@pytest.fixture
async def cluster() -> AsyncIterator[LocalCluster]:
    """Controllers, scheduler and two hollow nodes."""
    async with LocalCluster(nodes=2) as running:
        yield running


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of a real etcd."""
    if shutil.which("etcd") is None:
        pytest.skip("etcd is not installed")
    client = f"http://127.0.0.1:{free_port()}"
    peer = f"http://127.0.0.1:{free_port()}"
    options = {
        "data-dir": str(tmp_path_factory.mktemp("etcd")),
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
        "log-level": "error",
    }
    command = ["etcd", *(f"--{name}={value}" for name, value in options.items())]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = client.removeprefix("http://")
    host, port = address.split(":")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) == 0:
                break
    yield address
    process.kill()
    process.wait()


@pytest.fixture(autouse=True)
def nothing_shared_is_changed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What informers hold is shared, soon after it came; whoever changes it in place changes it for
    all."""
    monkeypatch.setattr(informer, "_SETTLED", 0.05)
    yield
    assert not compaction.changed_parts()


def takes_the_machine(item: pytest.Item) -> bool:
    """Whether a test needs what the machine has once: containers, the kernel's network, cgroups."""
    is_of_root = item.get_closest_marker("root") is not None
    return is_of_root or "machine" in getattr(item, "fixturenames", ())


def shared_by(item: pytest.Item) -> str:
    """The path in whose tests a fixture of this test's is shared: its file, or its package."""
    file = item.nodeid.partition("::")[0]
    loop = item.get_closest_marker("asyncio")
    of_package = loop is not None and loop.kwargs.get("loop_scope") == "package"
    return file.rpartition("/")[0] if of_package else file


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What several processes may share out (`-n 2 --dist loadgroup`).

    Tests that take the machine stay in one process, one after the other, and are handed out first:
    together they take longest. The others go by files, in each of which the order stays."""
    machine = {shared_by(item) for item in items if takes_the_machine(item)}
    for item in items:
        path = shared_by(item)
        item.add_marker(pytest.mark.xdist_group("machine" if path in machine else path))
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: shared_by(item) not in machine)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for program in mark.args:
            if shutil.which(program) is None:
                pytest.skip(f"{program} is not installed")
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*programs): programs the test cannot do without")
    config.addinivalue_line("markers", "root: the test needs root")
    config.addinivalue_line("markers", "xdist_group(name): what one process runs")
