"""Fixtures every test may use: a cluster in this process, and what the machine has."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator

import pytest

from tiphys.client import compaction, informer
from tiphys.testing import LocalCluster


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


@pytest.fixture(autouse=True)
def nothing_shared_is_changed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What informers hold is shared, soon after it came; whoever changes it in place changes it for all."""
    monkeypatch.setattr(informer, "_SETTLED", 0.05)
    yield
    assert not compaction.changed_parts()


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
