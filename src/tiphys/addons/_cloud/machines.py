"""The cloud: machines that are launched, run as hollow nodes in this process or as sandboxes of the
cluster's machine, and end."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry

from tiphys.addons._cloud import sandboxes
from tiphys.addons._cloud.catalog import Catalog, InstanceType, Offering, with_older
from tiphys.addons._cloud.quantities import quantity
from tiphys.addons._cloud.sandboxes import CONTAINERD, HOLLOW, RUNTIME
from tiphys.addons.machines import MachineError, Machines
from tiphys.api import core_v1
from tiphys.client.client import Client
from tiphys.client.events import EventBudget
from tiphys.client.informer import Informers
from tiphys.client.tasks import TaskGroup
from tiphys.machinery import durations
from tiphys.machinery.addresses import version_of
from tiphys.node.agent import Agent
from tiphys.node.configuration import KubeletConfiguration
from tiphys.node.hollow import HollowRuntime
from tiphys.node.managers.settings import Settings
from tiphys.node.metrics import KubeletMetrics
from tiphys.node.options import NodeOptions
from tiphys.node.states import RUNNING

log = logging.getLogger(__name__)

INTERRUPT = "cloud.tiphys.dev/interrupt"
"""Annotation of a Node: its machine is taken away after so long (``120s``), with a notice."""
FAIL = "cloud.tiphys.dev/fail"
"""Annotation of a Node, ``true``: its machine goes silent."""

_LOOK = 0.2  # seconds between checks for machines that are to be terminated


class InsufficientCapacity(Exception):
    """None of the requested offerings has capacity now."""


class Machine(msgspec.Struct):
    """A machine. `token` is who ordered it: the same order gives the same machine.

    ends_at: when it is taken away, seconds since the epoch; None: it is not
    silent: it no longer runs, and no event reports it
    extra: what it has besides its type's capacity, in units of `footprint`
    """

    id: str
    name: str
    type: str
    zone: str
    capacity_type: str
    image: str
    token: str
    labels: dict[str, str]
    taints: list[core_v1.Taint]
    launched_at: float
    ends_at: float | None = None
    silent: bool = False
    runtime: str = HOLLOW  # or CONTAINERD
    extra: dict[str, int] = {}


class Order(msgspec.Struct):
    """What is wanted: any of `options`, the first first. `name` becomes the node's. A hollow
    machine has what its option declares, even where that is more than the catalog lists."""

    name: str
    token: str
    image: str
    labels: dict[str, str]
    taints: list[core_v1.Taint]
    options: list[tuple[InstanceType, Offering]]
    runtime: str = HOLLOW


class _Host:
    """One machine's agent, with tasks of its own."""

    def __init__(self, agent: Agent, tasks: TaskGroup) -> None:
        self.agent = agent
        self.tasks = tasks

    async def stop(self) -> None:
        await self.agent.stop()
        await self.tasks.stop()


class Cloud:
    """`client` may do what nodes do. What runs is remembered in `folder`: after a restart the same
    machines run again, and the pods of hollow ones restart. `sandboxes` are those of the
    cluster's machine, where there can be some."""

    def __init__(
        self,
        client: Client,
        informers: Informers,
        tasks: TaskGroup,
        catalog: Catalog,
        folder: Path,
        now: Callable[[], float],
        sandboxes: Machines | None = None,
    ) -> None:
        self.catalog = catalog
        self._addresses: tuple[str, ...] = ("127.0.0.1",)
        self._sandboxes = sandboxes
        # Of the nodes alone: one that gets no answer drops the connections of its client.
        self._client = Client(client.config, "tiphys-hollow-cloud", client.metrics)
        self._informers = informers
        self._tasks = tasks
        self._file = folder / "machines.json"
        self._folder = folder
        self._now = now
        self._machines: dict[str, Machine] = {}
        self._hosts: dict[str, _Host] = {}  # by node
        self._numbers = 0
        self._events = EventBudget()
        self._metrics = KubeletMetrics(CollectorRegistry())
        self._on_notice: list[Callable[[Machine], None]] = []
        self._unavailable: Callable[[str, Offering], bool] = lambda type_name, offering: False

    # --- the interface of a cloud ---

    def machines(self) -> list[Machine]:
        return list(self._machines.values())

    def get(self, id: str) -> Machine | None:
        return self._machines.get(id)

    def on_notice(self, handler: Callable[[Machine], None]) -> None:
        """Calls `handler(machine)` when a machine is going to be taken away."""
        self._on_notice.append(handler)

    def make_unavailable(self, rule: Callable[[str, Offering], bool]) -> None:
        """`rule(type, offering)` decides what has no capacity."""
        self._unavailable = rule

    async def create(self, order: Order) -> Machine:
        """Launches the first option that can be had. Raises InsufficientCapacity."""
        for machine in self._machines.values():
            if machine.token == order.token:
                return machine
        for type_, offering in order.options:
            if not self._unavailable(type_.name, offering):
                return await self._launch(order, type_, offering)
        raise InsufficientCapacity("all requested instance types were unavailable during launch")

    async def delete(self, id: str) -> bool:
        """Ends a machine; whether there was one. Raises MachineError."""
        machine = self._machines.get(id)
        if machine is None:
            return False
        if machine.runtime == CONTAINERD:
            await self._end_sandbox(machine.name)
        self._machines.pop(id, None)
        self._save()
        await self._stop(machine.name)
        return True

    async def interrupt(self, id: str, notice: float) -> None:
        """Takes a machine away after so many seconds."""
        machine = self._machines.get(id)
        if machine is None or machine.ends_at is not None:
            return
        machine.ends_at = self._now() + notice
        self._save()
        for handler in self._on_notice:
            handler(machine)

    async def silence(self, id: str) -> None:
        """The machine stops answering; no event reports it."""
        machine = self._machines.get(id)
        if machine is not None and not machine.silent:
            machine.silent = True
            self._save()
            await self._stop(machine.name)
            if machine.runtime == CONTAINERD:
                await self._end_sandbox(machine.name)

    def type_of(self, machine: Machine) -> InstanceType:
        """The machine's type, with what this one has besides."""
        type_ = self.catalog.by_name[machine.type]
        return replace(type_, capacity={**type_.capacity, **machine.extra})

    def is_running(self, node: str) -> bool:
        """Whether the node's hollow machine answers."""
        return node in self._hosts

    async def answers(self, node: str, uid: str) -> bool:
        """Whether a pod runs there now, and would answer: all its containers are running."""
        host = self._hosts.get(node)
        if host is None:
            return False
        state = await host.agent.runtime.pod(uid)
        containers = state.containers.values()
        return bool(containers) and all(one.state == RUNNING for one in containers)

    # --- life ---

    async def start(self, addresses: tuple[str, ...] = ("127.0.0.1",)) -> None:
        """Runs what ran before, and follows pods and nodes. `addresses` are those of hollow nodes,
        one of each version of IP that the cluster has, in its order."""
        self._addresses = addresses
        if self._file.exists():
            machines = msgspec.json.decode(self._file.read_bytes(), type=list[Machine])
            self._machines = {machine.id: machine for machine in machines}
        if self._sandboxes is not None:
            await self._end_strangers(self._sandboxes)
        for machine in self._machines.values():
            if not machine.silent:
                await self._run(machine)
        self._informers.of(core_v1.Pod).on_change(self._pod_changed)
        self._informers.of(core_v1.Node).on_change(self._node_changed)
        self._tasks.start(self._take_away(), "taking-away", vital=True)

    async def close(self) -> None:
        """Machines go on existing; the nodes of hollow ones are silent until `start`."""
        for name in list(self._hosts):
            await self._stop(name)
        await self._client.close()

    async def _launch(self, order: Order, type_: InstanceType, offering: Offering) -> Machine:
        labels = type_.labels_of(offering, self.catalog.region)
        machine = Machine(
            id=f"tiphys:///{offering.zone}/i-{secrets.token_hex(8)}",
            name=order.name,
            type=type_.name,
            zone=offering.zone,
            capacity_type=offering.capacity_type,
            image=order.image,
            token=order.token,
            labels={**labels, **order.labels},
            taints=order.taints,
            launched_at=self._now(),
            runtime=order.runtime,
            extra=self._extra(type_) if order.runtime == HOLLOW else {},
        )
        if order.runtime == CONTAINERD:
            machine.labels[RUNTIME] = CONTAINERD
            await self._make_sandbox(machine)
        self._machines[machine.id] = machine
        self._save()
        if machine.runtime == HOLLOW:
            self._tasks.start(self._boot(machine), f"boot-{machine.name}")
        return machine

    def _extra(self, ordered: InstanceType) -> dict[str, int]:
        own = self.catalog.by_name[ordered.name].capacity
        return {
            name: amount for name, amount in ordered.capacity.items() if own.get(name) != amount
        }

    async def _boot(self, machine: Machine) -> None:
        await asyncio.sleep(self.catalog.boot)
        if machine.id in self._machines:
            await self._run(machine)

    # --- sandboxes ---

    async def _make_sandbox(self, machine: Machine) -> None:
        """Raises InsufficientCapacity."""
        if self._sandboxes is None:
            raise InsufficientCapacity("this cluster has no machines that run containers")
        type_ = self.catalog.by_name[machine.type]
        order = sandboxes.order(
            type_, machine.name, machine.id, with_older(machine.labels), machine.taints
        )
        try:
            await self._sandboxes.make(order)
        except MachineError as error:
            raise InsufficientCapacity(str(error)) from None

    async def _end_sandbox(self, name: str) -> None:
        if self._sandboxes is not None:
            await self._sandboxes.end(name)

    async def _end_strangers(self, standing: Machines) -> None:
        """Ends what was made for an order that was not written down."""
        known = {machine.name for machine in self._machines.values()}
        for name in await standing.names():
            if name not in known:
                await standing.end(name)

    # --- hollow machines ---

    async def _run(self, machine: Machine) -> None:
        if machine.runtime == CONTAINERD:
            return await self._make_sandbox(machine)
        type_ = self.type_of(machine)
        self._numbers += 1
        options = NodeOptions(
            machine.name,
            self._addresses[0],
            self._folder,
            Path(),
            Path(),
            Path(),
            10250,
            labels={"type": "hollow", **with_older(machine.labels)},
            configuration=KubeletConfiguration(
                max_pods=type_.capacity["pods"], managers=Settings(kube=type_.reserved)
            ),
            taints=tuple(machine.taints),
            addresses=self._addresses,
            provider_id=machine.id,
            capacity={name: quantity(name, amount) for name, amount in type_.capacity.items()},
        )
        tasks = TaskGroup(f"machine-{machine.name}")
        agent = Agent(
            self._client,
            HollowRuntime(self._numbers, self._now, [version_of(one) for one in self._addresses]),
            options,
            list,
            tasks,
            self._events,
            metrics=self._metrics,
        )
        host = self._hosts[machine.name] = _Host(agent, tasks)
        starting = tasks.start(agent.start(), "start")  # ends with the machine
        await asyncio.wait((starting,))
        if self._hosts.get(machine.name) is not host:
            return  # it was ended meanwhile
        starting.result()
        for pod in self._informers.of(core_v1.Pod):
            if pod.spec.node_name == machine.name:
                agent.pod_changed(None, pod)
        log.info("machine %s runs as node %s", machine.id, machine.name)

    async def _stop(self, node: str) -> None:
        host = self._hosts.pop(node, None)
        if host is not None:
            await host.stop()

    def _save(self) -> None:
        temporary = self._file.with_suffix(".new")
        temporary.write_bytes(msgspec.json.encode(self.machines()))
        temporary.rename(self._file)

    # --- what happens ---

    def _pod_changed(self, old: core_v1.Pod | None, new: core_v1.Pod | None) -> None:
        pod = new or old
        assert pod is not None
        host = self._hosts.get(pod.spec.node_name)
        if host is not None:
            host.agent.pod_changed(old if old is None or old.spec.node_name else None, new)

    def _node_changed(self, old: core_v1.Node | None, new: core_v1.Node | None) -> None:
        node = new or old
        assert node is not None
        if node.spec.provider_id not in self._machines:
            return
        host = self._hosts.get(node.metadata.name)
        if host is not None:
            host.agent.node_changed(old, new)
        if host is not None or self._machines[node.spec.provider_id].runtime == CONTAINERD:
            self._follow(node)

    def _follow(self, node: core_v1.Node) -> None:
        """Does what a node's annotations ask of the cloud."""
        id = node.spec.provider_id
        machine = self._machines[id]
        if node.metadata.annotations.get(FAIL) == "true" and not machine.silent:
            self._tasks.start(self.silence(id), f"silence-{machine.name}")
        notice = node.metadata.annotations.get(INTERRUPT)
        if notice is not None and machine.ends_at is None:
            try:
                seconds = durations.seconds(notice)
            except durations.DurationError as error:
                log.warning("node %s: %s: %s", machine.name, INTERRUPT, error)
                return
            self._tasks.start(self.interrupt(id, seconds), f"interrupt-{machine.name}")

    async def _take_away(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            now = self._now()
            for machine in self.machines():
                if machine.ends_at is not None and machine.ends_at <= now:
                    log.info("machine %s is terminated", machine.id)
                    try:
                        await self.delete(machine.id)
                    except MachineError as error:
                        log.warning("machine %s: %s; retrying", machine.id, error)
