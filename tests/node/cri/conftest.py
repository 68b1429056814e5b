"""A containerd that answers as a test says, and a runtime that asks it."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.node.cri.containerd import Containerd
from tiphys.node.cri.logfiles import LogLimits
from tiphys.node.cri.runtime import CRIRuntime


@pytest.fixture
async def containerd() -> AsyncIterator[Containerd]:
    with tempfile.TemporaryDirectory(prefix="tiphys-") as folder:  # a socket's path is short
        made = Containerd(Path(folder))
        await made.start()
        yield made
        await made.stop()


@pytest.fixture
async def runtime(containerd: Containerd, tmp_path: Path) -> AsyncIterator[CRIRuntime]:
    made = CRIRuntime(containerd.socket, tmp_path / "logs", "tiphys", log_limits=LogLimits(10, 2))
    yield made
    await made.close()
