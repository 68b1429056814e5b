"""A type of machine, orders for it, and a cloud whose agents only remember what they are told."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.addons.pretended import Pretended
from tiphys.addons._cloud import machines as module
from tiphys.addons._cloud.catalog import Catalog, parse
from tiphys.addons._cloud.machines import HOLLOW, Cloud, Order
from tiphys.addons.machines import Machine, MachineError
from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.client.tasks import TaskGroup

CATALOG: Catalog = parse(
    {
        "region": "r",
        "zones": {"a": 1.0, "b": 1.5},
        "spot": 0.25,
        "reserved": {"cpu": "80m", "memory": "256Mi"},
        "images": {"base": ["1"]},
        "sizes": {"small": {"cpu": 2, "pods": 10}},
        "families": [{"name": "m1", "category": "m", "generation": 1, "memory": 4, "price": 0.1}],
    }
)
(TYPE,) = CATALOG.types
ON_DEMAND, SPOT, ELSEWHERE, _ = TYPE.offerings


def order(name: str = "n", runtime: str = HOLLOW, token: str = "", **more: Any) -> Order:
    """For a machine on demand, or else a spot one."""
    options = more.pop("options", [(TYPE, ON_DEMAND), (TYPE, SPOT)])
    labels = more.pop("labels", {"own": "label"})
    taints = [core_v1.Taint(key="new", effect="NoExecute")]
    return Order(name, token or f"token-{name}", "base@1", labels, taints, options, runtime)


class Agent:
    """`told` is what it was told of pods and nodes, by name."""

    def __init__(self, client: Any, runtime: Any, options: Any, *more: Any, **metrics: Any) -> None:
        self.options = options
        self.told: list[tuple[str | None, str | None]] = []
        self.stopped = False
        self.pods: dict[str, Any] = {}
        self.runtime = SimpleNamespace(pod=self._pod)

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        self.stopped = True

    async def _pod(self, uid: str) -> Any:
        return SimpleNamespace(containers=self.pods.get(uid, {}))

    def pod_changed(self, old: Any, new: Any) -> None:
        self.told.append(tuple(one and one.metadata.name for one in (old, new)))  # type: ignore[arg-type]

    node_changed = pod_changed


class Sandboxes:
    """Of the cluster's machine. `fails`: why none can be made or ended."""

    def __init__(self, *names: str) -> None:
        self.there = {name: Machine(name) for name in names}
        self.fails = ""

    async def make(self, machine: Machine) -> None:
        self._fail()
        self.there[machine.name] = machine

    async def end(self, name: str) -> None:
        self._fail()
        self.there.pop(name, None)

    async def names(self) -> list[str]:
        return list(self.there)

    def _fail(self) -> None:
        if self.fails:
            raise MachineError(self.fails)


class Bench:
    """A cloud of hollow machines, and of sandboxes where there are some."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, sandboxes: Sandboxes | None
    ) -> None:
        monkeypatch.setattr(module, "Agent", Agent)
        monkeypatch.setattr(module, "Client", lambda *_: SimpleNamespace(close=self._close))
        monkeypatch.setattr(module, "_LOOK", 0.0)
        self.sandboxes = sandboxes
        self.server = Pretended()
        self.tasks = TaskGroup("cloud")
        self.folder = folder
        self.time = 1000.0
        self.closed = 0
        self.cloud = self.again()

    def again(self) -> Cloud:
        """The cloud, or its next life."""
        client: Any = SimpleNamespace(config=None, metrics=None)
        self.cloud = Cloud(
            client,
            cast(Any, self.server),
            self.tasks,
            CATALOG,
            self.folder,
            lambda: self.time,
            cast(Any, self.sandboxes),
        )
        return self.cloud

    async def _close(self) -> None:
        self.closed += 1

    def agent(self, node: str) -> Agent:
        return cast(Agent, self.cloud._hosts[node].agent)

    async def running(self, name: str = "n", **more: Any) -> module.Machine:
        """A hollow machine that is up."""
        machine = await self.cloud.create(order(name, **more))
        await self.settle()
        assert self.cloud.is_running(name)
        return machine

    async def settle(self) -> None:
        """Until what was begun has had its turns."""
        for _ in range(20):
            await asyncio.sleep(0)

    def node(self, machine: module.Machine, **annotations: str) -> core_v1.Node:
        """The machine's node; annotations by their last word."""
        said = {f"cloud.tiphys.dev/{key}": value for key, value in annotations.items()}
        meta = {"name": machine.name, "annotations": said}
        made: core_v1.Node = from_builtins(
            {"metadata": meta, "spec": {"providerID": machine.id}}, core_v1.Node
        )
        self.server.put(made)
        return made

    def pod(self, name: str, node: str) -> core_v1.Pod:
        meta = {"name": name, "namespace": "d", "uid": name}
        made: core_v1.Pod = from_builtins(
            {"metadata": meta, "spec": {"nodeName": node}}, core_v1.Pod
        )
        self.server.put(made)
        return made
