"""Fixtures every test may use: a cluster in this process, and what the machine has."""

from __future__ import annotations

import functools
import gc
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from tests.etcds import etcd_in
from tiphys.apiserver.workers.pool import Bursts
from tiphys.client import compaction, informer
from tiphys.testing import LocalCluster

ROOT = Path(__file__).parents[1]


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


@pytest.fixture
def uncollected() -> Iterator[None]:
    """No collection comes meanwhile."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of a real etcd."""
    with etcd_in(tmp_path_factory.mktemp("etcd")) as address:
        yield address


@pytest.fixture(autouse=True)
def nothing_shared_is_changed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What informers hold is shared, soon after it came; whoever changes it in place changes it for
    all."""
    monkeypatch.setattr(informer, "_SETTLED", 0.05)
    yield
    assert not compaction.changed_parts()


@functools.cache
def process_of(file: str) -> str:
    """What may not be parted when several processes share the tests: a file, a package where tests
    share what is set up for it, and everything that needs what the machine has once (containers,
    the kernel's network). Read in the source, which the process that shares out has, too."""
    text = (ROOT / file).read_text()
    if "mark.root" in text or "machine: Machine" in text:
        return "machine"
    return str(Path(file).parent) if 'loop_scope="package"' in text else file


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Marks cannot say it: pytest-xdist 3.8 does not find its groups in node ids of pytest 9."""
    from xdist.scheduler import LoadScopeScheduling

    class ByProcess(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return process_of(_file(nodeid))

    return ByProcess(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In one of several processes: what needs the machine first, for together it takes longest."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: process_of(_file(item.nodeid)) != "machine")


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
