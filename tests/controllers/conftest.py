"""One API server for the tests of reconcilers: each has a namespace of its own."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import pytest_asyncio

from tests.controllers.bench import Bench
from tiphys.testing import LocalCluster

_numbers = itertools.count()


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def api() -> AsyncIterator[LocalCluster]:
    async with LocalCluster() as server:
        yield server


@pytest_asyncio.fixture(loop_scope="package")
async def bench(api: LocalCluster) -> AsyncIterator[Bench]:
    made = Bench(api, f"bench-{next(_numbers)}")
    await made.set_up()
    yield made
    await made.tasks.stop()
