"""A node whose pods have volumes of drivers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders import pod
from tests.node.csi.driverprogram import NAME, PLUGIN, DriverProgram
from tiphys.api import core_v1, storage_v1
from tiphys.api.base import from_builtins
from tiphys.node.csi.drivers import Drivers
from tiphys.node.csi.mounting import Mounter
from tiphys.node.csi.nodeinfo import DriverFacts
from tiphys.node.csi.source import VolumeSource
from tiphys.node.volumes.kubeletfolder import KubeletFolder

SOURCE = VolumeSource(name="pv", driver=NAME, handle="disk-1", attributes={"tier": "fast"})


class Told:
    """What the cluster is told of drivers."""

    def __init__(self) -> None:
        self.drivers: dict[str, DriverFacts] = {}

    async def install(self, facts: DriverFacts) -> None:
        self.drivers[facts.name] = facts

    async def uninstall(self, name: str) -> None:
        del self.drivers[name]


class Objects:
    """The objects that the node looks up, by kind and name."""

    def __init__(self) -> None:
        self.by_name: dict[tuple[type, str], Any] = {}

    async def get(self, kind: type, namespace: str, name: str, fresh: float = 5) -> Any:
        return self.by_name.get((kind, name))

    async def token_with_end(self, pod: Any, audience: str, seconds: int) -> tuple[str, str]:
        return f"token for {audience}", "2026-01-01T00:00:00Z"

    def describe(self, **spec: Any) -> None:
        """The driver's CSIDriver."""
        body = {"metadata": {"name": NAME}, "spec": {"attachRequired": False, **spec}}
        made = from_builtins(body, storage_v1.CSIDriver)
        self.by_name[storage_v1.CSIDriver, NAME] = made


class Node:
    """A node with one driver on it."""

    def __init__(self, root: Path) -> None:
        self.folder = KubeletFolder(root)
        self.program = DriverProgram(self.folder)
        self.objects = Objects()
        self.objects.describe()
        self.told = Told()
        self.shown = core_v1.Node()
        self.reports = 0  # how often the node was to be reported anew
        self.restart()

    def restart(self) -> None:
        """Another agent takes over, to which no driver has registered yet."""
        self.drivers = Drivers(self.folder, self.told)  # type: ignore[arg-type]
        self.mounter = Mounter(
            self.folder,
            "n",
            self.drivers,
            self.objects,  # type: ignore[arg-type]
            lambda: self.shown,
            self._count_report,
        )
        self.mounter.holdings.load()

    def _count_report(self) -> None:
        self.reports += 1

    def report(self) -> None:
        """The node's status says what it uses."""
        self.shown.status.volumes_in_use = self.mounter.holdings.in_use()

    def files(self) -> list[str]:
        return [path.name for path in self.folder.root.rglob("vol_data.json")]


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    made = Node(tmp_path / "kubelet")
    await made.program.start()
    await made.drivers.register(PLUGIN)
    yield made
    await made.program.stop()


def a_pod(uid: str, **spec: Any) -> core_v1.Pod:
    made = pod(**spec)
    made.metadata.uid = uid
    return made
