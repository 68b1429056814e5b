"""One cluster for all tests of this folder: each has names of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.addons.keda.world import keda_cluster
from tiphys.testing import LocalCluster


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def keda() -> AsyncIterator[LocalCluster]:
    async with keda_cluster() as cluster:
        yield cluster
