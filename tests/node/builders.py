"""Pods as a runtime shows them, and nodes without an API server, for tests of the node."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.api.meta_v1 import Status
from tiphys.machinery.errors import StatusError
from tiphys.node.containers.records import ContainerRecords
from tiphys.node.hollow import HollowRuntime
from tiphys.node.naming import ClusterDNS, Resolver
from tiphys.node.nodecontext import NodeContext
from tiphys.node.pod.lifecycle import PodActions, compute_actions
from tiphys.node.pod.managedpod import ManagedPod
from tiphys.node.quiet import Quiet
from tiphys.node.references import References
from tiphys.node.resources.resize import Resources
from tiphys.node.runtime import ContainerPlan
from tiphys.node.startqueue import StartQueue
from tiphys.node.states import RUNNING, ContainerState, PodState, SandboxState
from tiphys.node.status.containerstatus import Observation
from tiphys.node.status.podstatus import pod_status
from tiphys.node.volumes.growth import VolumeGrowth
from tiphys.node.volumes.nodrivers import NoDrivers

NO_RESOLVER = Resolver([], [], [])
NEVER_PROBED: dict[str, str] = {}


def container(
    name: str = "c", what: str = RUNNING, code: int = 0, attempt: int = 0, finished: float = 0.0
) -> ContainerState:
    """An attempt of a container that started at second 1."""
    return ContainerState(f"id-{name}-{attempt}", name, attempt, what, 1.0, 1.0, finished, code)


def state(*containers: ContainerState) -> PodState:
    """A pod with a ready sandbox of the id `s`, made at second 1."""
    sandbox = SandboxState("s", 0, True, "10.0.0.9", 1.0)
    return PodState("u", sandbox=sandbox, containers={one.name: one for one in containers})


def records(
    ready: str = "", started: str = "", failed: dict[str, str] = NEVER_PROBED, resized: str = ""
) -> ContainerRecords:
    """`ready`, `started` and `resized` (ended to be resized) name containers, parted by blanks;
    `failed` gives the kind of the probe that failed."""
    made = ContainerRecords()
    for name in ready.split():
        made[name].ready = True
    for name in started.split():
        made[name].started = True
    for name in resized.split():
        made[name].restart_for_resize = True
    for name, probe in failed.items():
        made[name].failed_probe = probe
    return made


def actions(
    one: core_v1.Pod, shown: PodState, known: ContainerRecords | None = None, now: float = 0.0
) -> PodActions:
    return compute_actions(one, shown, known or records(), now)


def starts(computed: PodActions) -> list[tuple[str, int]]:
    """(container, attempt) of what is to be started."""
    return [(start.container.name, start.attempt) for start in computed.start]


def observation(
    one: core_v1.Pod, shown: PodState, known: ContainerRecords | None = None, **more: Any
) -> Observation:
    known = known or records()
    facts: dict[str, Any] = {"scheme": "containerd", "host_ips": ("1.2.3.4",), "now": 5.0, **more}
    resources = facts.pop("resources", None) or Resources(one, known)
    return Observation(one, shown, known, resources, **facts)


def status_of(
    one: core_v1.Pod, shown: PodState, known: ContainerRecords | None = None, **more: Any
) -> core_v1.PodStatus:
    return pod_status(observation(one, shown, known, **more))


class Events:
    """Keeps what is recorded: (kind, reason, message, path)."""

    def __init__(self) -> None:
        self.recorded: list[tuple[str, str, str, str]] = []

    def record(self, obj: Any, kind: str, reason: str, message: str, path: str = "") -> None:
        self.recorded.append((kind, reason, message, path))

    def reasons(self) -> list[str]:
        return [reason for _, reason, _, _ in self.recorded]


class RecordingRuntime(HollowRuntime):
    """A hollow runtime that keeps what it was asked to stop and remove: (what, id or name)."""

    def __init__(self) -> None:
        super().__init__(now=lambda: 1.0)
        self.calls: list[tuple[str, str]] = []
        self.graces: dict[str, float] = {}
        self.signals: dict[str, str] = {}  # that were asked for

    async def stop_container(
        self, container: ContainerState, grace: float, signal: str = ""
    ) -> None:
        name = container.name
        self.calls.append(("stop", name))
        self.graces[name] = grace
        if signal:
            self.signals[name] = signal
        await super().stop_container(container, grace, signal)

    async def stop_sandbox(self, id: str) -> None:
        self.calls.append(("stop sandbox", id))
        await super().stop_sandbox(id)

    async def remove_sandbox(self, id: str) -> None:
        self.calls.append(("remove sandbox", id))
        await super().remove_sandbox(id)


class StatusServer:
    """Keeps the statuses that are sent to it, and the names of deleted pods; refuses with `code` if
    that is set."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.deleted: list[str] = []
        self.code = 0
        self._changed = asyncio.Event()

    async def patch(
        self, kind: Any, name: str, change: Any, namespace: str, subresource: str
    ) -> core_v1.Pod:
        assert subresource == "status"
        if self.code:
            raise StatusError(Status(code=self.code, reason="Refused"))
        self.sent.append(change)
        self._changed.set()
        updated = pod(restartPolicy="Always")
        updated.metadata.resource_version = str(len(self.sent))
        return updated

    async def until(self, phase: str) -> None:
        """Returns when a status of the phase is sent."""
        while not self.sent or self.sent[-1]["status"]["phase"] != phase:
            self._changed.clear()
            await self._changed.wait()

    async def delete(self, kind: Any, name: str, namespace: str, grace: int, uid: str) -> None:
        if self.code:
            raise StatusError(Status(code=self.code, reason="Refused"))
        self.deleted.append(name)


def node_context(runtime: HollowRuntime | None = None, client: Any = None, **more: Any) -> Any:
    """A node of a runtime, with no API server unless `client` is one."""
    runtime = runtime or RecordingRuntime()
    recorder: Any = more.pop("recorder", None) or Events()
    references, growth = References(client), VolumeGrowth(client, recorder)
    return NodeContext(
        name="n",
        address="1.2.3.4",
        runtime=runtime,
        client=client,
        recorder=recorder,
        references=references,
        volumes=runtime.volumes(Path("/nonexistent"), references, {}, NoDrivers(), growth),
        services=list,
        dns=ClusterDNS(["10.0.0.10"], "cluster.local"),
        resolver=NO_RESOLVER,
        allocatable={},
        starting=StartQueue(4),
        quiet=Quiet(0),
        now=more.pop("now", lambda: 100.0),
        **more,
    )


async def running(one: core_v1.Pod, node: Any = None) -> ManagedPod:
    """A pod whose containers, init containers too, were all started."""
    one.metadata.uid = one.metadata.uid or "u"
    managed = ManagedPod(node or node_context(), one)
    runtime = managed.node.runtime
    sandbox = await runtime.run_sandbox(one, 0, NO_RESOLVER, "p")
    for spec in [*one.spec.init_containers, *one.spec.containers]:
        plan = ContainerPlan(spec, 0, spec.image, [], [], {}, [])
        await runtime.start_container(one, sandbox, plan)
    await managed.read_state()
    return managed


def lasting_pod(*sidecars: str, **spec: Any) -> core_v1.Pod:
    """A pod of one container `c` that runs on, and of sidecars."""
    inits = [{"name": name, "image": "i", "restartPolicy": "Always"} for name in sidecars]
    return pod(restartPolicy="Always", initContainers=inits, **spec)


def client_of(**methods: Any) -> Any:
    """Stands for the API server where a test looks at what is sent to it."""
    return SimpleNamespace(**methods)
