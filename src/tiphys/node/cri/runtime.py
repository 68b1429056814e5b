"""Pods as containers of a CRI runtime (containerd)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from signal import SIGKILL
from typing import Any, TypeVar

import grpc.aio
import msgspec
from prometheus_client import CollectorRegistry

from tiphys.api import core_v1
from tiphys.api.base import Struct
from tiphys.client.tasks import TaskGroup
from tiphys.node import hugepages
from tiphys.node.abilities import HandlerAbilities, IdRange, RuntimeAbilities
from tiphys.node.cri import listing
from tiphys.node.cri import messages as m
from tiphys.node.cri.client import CRIClient
from tiphys.node.cri.config import (
    UID_LABEL,
    SandboxPlace,
    container_config,
    container_resources,
    sandbox_config,
)
from tiphys.node.cri.images import CRIImages
from tiphys.node.cri.logfiles import CRILogs, LogLimits
from tiphys.node.cri.processes import Processes
from tiphys.node.cri.signals import system_signal
from tiphys.node.drivervolumes import DriverVolumes, Growth
from tiphys.node.metrics import KubeletMetrics
from tiphys.node.naming import Resolver
from tiphys.node.references import References
from tiphys.node.resources.capacity import machine_capacity
from tiphys.node.resources.cgroups import (
    SWAP_FILE,
    ControlGroups,
    group_limits,
    huge_page_limits,
)
from tiphys.node.resources.swap import NO_SWAP, machine_memory, swap_limit
from tiphys.node.runtime import ContainerPlan, PodVolumes, RuntimeFault, Streams
from tiphys.node.states import (
    RUNNING,
    ContainerState,
    PodIdentity,
    PodState,
    SandboxState,
    Usage,
)
from tiphys.node.volumes.podvolumes import Volumes

T = TypeVar("T", bound=Struct)

_RELIST = 3.0  # seconds between relists, should an event be lost
_RECONNECT = 1.0  # seconds after the event stream broke
_SANDBOX_TIMEOUT = 240.0  # seconds
_STOP_MARGIN = 60.0  # seconds beyond the grace period that stopping a container may take
_CANCELLED_PATIENCE = 10.0  # seconds that a call has whose caller was cancelled
_EXEC_MARGIN = 5.0  # seconds beyond its own timeout that a command may take
_DELETION_PATIENCE = 1.0  # seconds for a sandbox's task to go, before containerd is told to end it
_PAUSES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)  # seconds between looks at a container's end
_OWN_PROCESSES = "io.containerd.runc.v2"  # the shim of runtimes whose processes are containers'
_RUNC = "runc"  # crun mounts volumes anew, and programs on images could be run
_APP_ARMOR = Path("/sys/module/apparmor/parameters/enabled")
_NO_RESOLVER = Resolver([], [], [])


class _ContainerInfo(msgspec.Struct):
    """The page ``info`` of containerd's verbose status of a container."""

    pid: int = 0
    runtimeType: str = ""


class CRIRuntime(CRIImages, CRILogs):
    """`socket` is containerd's, `logs` the folder of container logs, `cgroup` the parent of every
    pod's control group. Calls are counted in `metrics`. A pod has `pids` processes at most, and as
    much swap as `swap_behavior` lets it."""

    runs_processes = True
    parallel_starts = 4

    def __init__(
        self,
        socket: str,
        logs: Path,
        cgroup: str,
        metrics: KubeletMetrics | None = None,
        log_limits: LogLimits = LogLimits(),
        pids: int | None = None,
        swap_behavior: str = NO_SWAP,
    ) -> None:
        client = CRIClient(socket, metrics or KubeletMetrics(CollectorRegistry()))
        CRIImages.__init__(self, client)
        CRILogs.__init__(self, client, logs, log_limits)
        machine = os.cpu_count() or 1
        self._groups = ControlGroups(cgroup, 1000 * machine, pids=pids)
        self._configs: dict[str, m.PodSandboxConfig] = {}  # of sandboxes, by pod uid
        self._tasks = TaskGroup("cri")
        self._processes = Processes()
        self._swap_behavior = swap_behavior
        self._page_sizes = tuple(hugepages.set_aside())
        self.name = "containerd://unknown"
        self.applies_cdi = False
        self.abilities = RuntimeAbilities()

    def capacity(self, disk: Path) -> dict[str, Any]:
        return machine_capacity(disk)

    def volumes(
        self,
        root: Path,
        references: References,
        allocatable: dict[str, str],
        drivers: DriverVolumes,
        growth: Growth,
    ) -> PodVolumes:
        return Volumes(root, references, allocatable, drivers, growth)

    async def start(self, wake: Callable[[str], None]) -> None:
        version = await self._runtime("Version", m.VersionRequest(version="v1"), m.VersionResponse)
        number = version.runtime_version.split("~")[0].lstrip("v")
        self.name = f"{version.runtime_name}://{number}"
        self.applies_cdi = applies_cdi(number)
        status = await self._runtime("Status", m.StatusRequest(), m.StatusResponse)
        self.abilities = abilities_of(status, has_app_armor())
        self._tasks.start(self._listen(wake), "events")
        self._tasks.start(self._wake_regularly(wake), "relist")

    async def _listen(self, wake: Callable[[str], None]) -> None:
        """Wakes when any task of containerd ends. Which one it was shows in the look that
        follows. What has started is noted."""
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                async for envelope in self._client.events():
                    if self._processes.observe(envelope):
                        wake("")
            self._processes.close()  # what ends now is not heard of
            await asyncio.sleep(_RECONNECT)

    async def _wake_regularly(self, wake: Callable[[str], None]) -> None:
        while True:
            await asyncio.sleep(_RELIST)
            wake("")

    async def close(self) -> None:
        await self._tasks.stop()
        self._processes.close()
        await self._client.close()

    async def _runtime(
        self, method: str, request: Struct, response: type[T], timeout: float = 120.0
    ) -> T:
        return await self._client.call(f"RuntimeService/{method}", request, response, timeout)

    # --- what there is ---

    async def pods(self) -> dict[str, PodState]:
        return await self._list(m.ListPodSandboxRequest(), m.ListContainersRequest())

    async def pod(self, uid: str) -> PodState:
        labels = {UID_LABEL: uid}
        states = await self._list(
            m.ListPodSandboxRequest(filter=m.PodSandboxFilter(label_selector=labels)),
            m.ListContainersRequest(filter=m.ContainerFilter(label_selector=labels)),
        )
        state = states.get(uid) or PodState(uid)
        if state.sandbox is not None:
            state.sandbox = await self._with_address(state.sandbox)
        for group in (state.containers, state.previous):
            for name, container in list(group.items()):
                group[name] = await self.container(container)
        return state

    async def _list(
        self, sandboxes: m.ListPodSandboxRequest, containers: m.ListContainersRequest
    ) -> dict[str, PodState]:
        listed_sandboxes, listed_containers = await asyncio.gather(
            self._runtime("ListPodSandbox", sandboxes, m.ListPodSandboxResponse),
            self._runtime("ListContainers", containers, m.ListContainersResponse),
        )
        return listing.pod_states(listed_sandboxes.items, listed_containers.containers)

    async def _with_address(self, sandbox: SandboxState) -> SandboxState:
        """The sandbox with what only its status says."""
        request = m.PodSandboxStatusRequest(pod_sandbox_id=sandbox.id)
        try:
            response = await self._runtime("PodSandboxStatus", request, m.PodSandboxStatusResponse)
        except RuntimeFault:
            return sandbox
        if response.status is not None:
            network = response.status.network
            sandbox.ready = listing.is_ready(response.status.state)
            sandbox.ip = network.ip if network is not None else ""
            if network is not None:
                sandbox.additional_ips = tuple(pod_ip.ip for pod_ip in network.additional_ips)
        return sandbox

    async def container(self, known: ContainerState) -> ContainerState:
        request = m.ContainerStatusRequest(container_id=known.id)
        try:
            response = await self._runtime("ContainerStatus", request, m.ContainerStatusResponse)
        except RuntimeFault:
            return known
        if response.status is None:
            return known
        return listing.with_status(known, response.status)

    async def usage(self) -> dict[str, dict[str, Usage]]:
        response = await self._runtime(
            "ListContainerStats", m.ListContainerStatsRequest(), m.ListContainerStatsResponse
        )
        return listing.usage_by_pod(response.stats)

    async def processes(self, pod: core_v1.Pod) -> int:
        return self._groups.processes(pod.metadata.uid, pod.status.qos_class)

    # --- sandboxes ---

    async def reserve(self, pod: core_v1.Pod, spec: core_v1.PodSpec, growing: bool = False) -> None:
        qos = pod.status.qos_class
        limits = group_limits(spec, qos)
        limits = limits._replace(huge_pages=huge_page_limits(spec, self._page_sizes))
        await asyncio.to_thread(self._groups.hold, pod.metadata.uid, qos, limits, growing)

    async def run_sandbox(
        self,
        pod: core_v1.Pod,
        attempt: int,
        resolver: Resolver,
        hostname: str,
        handler: str = "",
        users: IdRange | None = None,
    ) -> SandboxState:
        config = self._sandbox_config(pod, attempt, resolver, hostname, users)
        self.make_log_folder(PodIdentity.of(pod))
        chosen = handler or (_RUNC if _has_image_volumes(pod) else "")
        request = m.RunPodSandboxRequest(config=config, runtime_handler=chosen)
        try:
            response = await self._runtime(
                "RunPodSandbox", request, m.RunPodSandboxResponse, _SANDBOX_TIMEOUT
            )
        except RuntimeFault as fault:
            raise _sandbox_fault(str(fault)) from None
        self._configs[pod.metadata.uid] = config
        if not handler:
            self._processes.trust(response.pod_sandbox_id)
        return await self._with_address(SandboxState(response.pod_sandbox_id, attempt, True))

    def _sandbox_config(
        self,
        pod: core_v1.Pod,
        attempt: int,
        resolver: Resolver,
        hostname: str,
        users: IdRange | None,
    ) -> m.PodSandboxConfig:
        logs = str(self.log_folder(PodIdentity.of(pod)))
        cgroup = self._groups.path(pod.metadata.uid, pod.status.qos_class)
        place = SandboxPlace(logs, cgroup, users)
        return sandbox_config(pod, attempt, resolver, hostname, place)

    async def stop_sandbox(self, id: str) -> None:
        await self._processes.end(id, SIGKILL, _DELETION_PATIENCE)  # it only waits
        request = m.StopPodSandboxRequest(pod_sandbox_id=id)
        await self._runtime("StopPodSandbox", request, m.StopPodSandboxResponse)

    async def remove_sandbox(self, id: str) -> None:
        self._processes.forget(id)
        request = m.RemovePodSandboxRequest(pod_sandbox_id=id)
        await self._runtime("RemovePodSandbox", request, m.RemovePodSandboxResponse)

    def forget(self, uid: str) -> None:
        """Removes the pod's control groups."""
        self._configs.pop(uid, None)
        self._groups.remove(uid)

    # --- containers ---

    async def start_container(
        self, pod: core_v1.Pod, sandbox: SandboxState, plan: ContainerPlan
    ) -> ContainerState:
        self.make_log_folder(PodIdentity.of(pod), plan.container.name)
        sandbox_config = self._configs.get(pod.metadata.uid)
        if sandbox_config is None:  # an agent before this one created the sandbox
            sandbox_config = self._sandbox_config(
                pod, sandbox.attempt, _NO_RESOLVER, "", plan.users
            )
        request = m.CreateContainerRequest(
            pod_sandbox_id=sandbox.id,
            config=self._container_config(pod, plan),
            sandbox_config=sandbox_config,
        )
        try:
            created = await self._runtime("CreateContainer", request, m.CreateContainerResponse)
        except RuntimeFault as fault:
            raise RuntimeFault("CreateContainerError", str(fault)) from None
        id = created.container_id
        if self._processes.trusts(sandbox.id):
            self._processes.trust(id)
        try:
            start = m.StartContainerRequest(container_id=id)
            await self._uninterrupted(
                self._runtime("StartContainer", start, m.StartContainerResponse)
            )
        except RuntimeFault as fault:
            raise RuntimeFault("RunContainerError", str(fault)) from None
        known = ContainerState(id, plan.container.name, plan.attempt, sandbox=sandbox.id)
        return await self.container(known)

    def _container_config(self, pod: core_v1.Pod, plan: ContainerPlan) -> m.ContainerConfig:
        config = container_config(pod, plan)
        resources = config.linux.resources if config.linux is not None else None
        if resources is None:
            return config
        pages = hugepages.limits(plan.container.resources.limits, self._page_sizes)
        resources.hugepage_limits = [m.HugepageLimit(size, limit) for size, limit in pages.items()]
        if self._groups.limits_swap():
            limit = swap_limit(self._swap_behavior, pod, plan.container, machine_memory())
            resources.unified = {SWAP_FILE: str(limit)}
        return config

    async def _uninterrupted(self, call: Coroutine[Any, Any, Any]) -> None:
        """A call that goes on when its caller is cancelled, and is waited for.

        A start that is broken off leaves containerd 1.6 with a process that it can neither stop nor
        remove ("cannot delete running task").
        """
        calling = self._tasks.start(call, "start")
        try:
            await asyncio.shield(calling)
        except asyncio.CancelledError:
            await asyncio.wait({calling}, timeout=_CANCELLED_PATIENCE)
            raise

    async def resize_container(
        self, pod: core_v1.Pod, container: core_v1.Container, id: str
    ) -> None:
        linux = container_resources(pod, container)
        linux.oom_score_adj = 0  # not changed
        request = m.UpdateContainerResourcesRequest(container_id=id, linux=linux)
        await self._runtime("UpdateContainerResources", request, m.UpdateContainerResourcesResponse)

    async def pin_container(self, id: str, cpus: str) -> None:
        linux = m.LinuxContainerResources(cpuset_cpus=cpus)
        request = m.UpdateContainerResourcesRequest(container_id=id, linux=linux)
        await self._runtime("UpdateContainerResources", request, m.UpdateContainerResourcesResponse)

    async def stop_container(
        self, container: ContainerState, grace: float, signal: str = ""
    ) -> None:
        left = await self._end(container, grace, signal)
        if left is None:
            return
        seconds = max(0, round(left))
        request = m.StopContainerRequest(container_id=container.id, timeout=seconds)
        await self._runtime(
            "StopContainer", request, m.StopContainerResponse, seconds + _STOP_MARGIN
        )

    async def _end(self, container: ContainerState, grace: float, signal: str) -> float | None:
        """Ends a container's process with signals, without containerd, if it can be found. Returns
        the seconds that containerd has to give it; None if it has ended."""
        id, processes = container.id, self._processes
        if not processes.knows(id):
            await self._find_process(id)
        if not processes.knows(id):
            return grace
        if grace > 0:
            number = await self._number(signal, container.image_ref)
            if number is None:
                return grace
            began = time.monotonic()
            if await processes.end(id, number, grace):
                return None
            left = grace - (time.monotonic() - began)
            if left > 0:  # the events broke off: only containerd hears of the end
                return left
        return None if await processes.end(id, SIGKILL, _DELETION_PATIENCE) else 0

    async def _find_process(self, id: str) -> None:
        """Takes note of one whose start was not seen: it is older than this agent."""
        request = m.ContainerStatusRequest(container_id=id, verbose=True)
        with contextlib.suppress(RuntimeFault, TimeoutError, msgspec.MsgspecError):
            answer = await self._runtime("ContainerStatus", request, m.ContainerStatusResponse)
            info = msgspec.json.decode(answer.info.get("info", ""), type=_ContainerInfo)
            if info.pid and info.runtimeType == _OWN_PROCESSES:
                self._processes.adopt(id, info.pid)

    async def _number(self, signal: str, image: str) -> int | None:
        """Of a signal, or of the one that an image asks for; None if only containerd knows."""
        with contextlib.suppress(RuntimeFault, TimeoutError):
            return system_signal(signal or await self.image_stop_signal(image))
        return None

    async def ended(self, container: ContainerState) -> ContainerState:
        for pause in _PAUSES:
            seen = await self.container(container)
            if seen.state != RUNNING:
                return seen
            await asyncio.sleep(pause)  # containerd takes note of an end when all of it is over
        return seen

    async def remove_container(self, id: str) -> None:
        self._processes.forget(id)
        request = m.RemoveContainerRequest(container_id=id)
        await self._runtime("RemoveContainer", request, m.RemoveContainerResponse)

    # --- commands and streams ---

    async def exec(self, id: str, command: list[str], timeout: float) -> tuple[int, bytes]:
        request = m.ExecSyncRequest(container_id=id, cmd=command, timeout=max(1, round(timeout)))
        try:
            response = await self._runtime(
                "ExecSync", request, m.ExecSyncResponse, timeout + _EXEC_MARGIN
            )
        except RuntimeFault as fault:
            if "timeout" in str(fault):
                raise TimeoutError(str(fault)) from None
            raise
        return response.exit_code, response.stdout + response.stderr

    async def exec_url(self, id: str, command: list[str], streams: Streams) -> str:
        request = m.ExecRequest(
            container_id=id,
            cmd=command,
            tty=streams.tty,
            stdin=streams.stdin,
            stdout=streams.stdout,
            stderr=streams.stderr and not streams.tty,
        )
        return (await self._runtime("Exec", request, m.ExecResponse)).url

    async def attach_url(self, id: str, streams: Streams) -> str:
        request = m.AttachRequest(
            container_id=id,
            tty=streams.tty,
            stdin=streams.stdin,
            stdout=streams.stdout,
            stderr=streams.stderr and not streams.tty,
        )
        return (await self._runtime("Attach", request, m.AttachResponse)).url

    async def port_forward_url(self, sandbox: str, ports: list[int]) -> str:
        request = m.PortForwardRequest(pod_sandbox_id=sandbox, port=ports)
        return (await self._runtime("PortForward", request, m.PortForwardResponse)).url


def _has_image_volumes(pod: core_v1.Pod) -> bool:
    return any(volume.image is not None for volume in pod.spec.volumes)


def applies_cdi(version: str) -> bool:
    """Whether a containerd has the field of CRI for the names of devices: since 1.7."""
    major, _, rest = version.partition(".")
    minor = rest.partition(".")[0]
    return major.isdigit() and minor.isdigit() and (int(major), int(minor)) >= (1, 7)


def abilities_of(status: m.StatusResponse, app_armor: bool) -> RuntimeAbilities:
    """What a runtime says of itself."""
    handlers = {}
    for handler in status.runtime_handlers:
        features = handler.features or m.RuntimeHandlerFeatures()
        handlers[handler.name] = HandlerAbilities(
            features.recursive_read_only_mounts, features.user_namespaces
        )
    features_of_all = status.features
    groups = None if features_of_all is None else features_of_all.supplemental_groups_policy
    return RuntimeAbilities(handlers, strict_groups=groups, app_armor=app_armor)


def has_app_armor(parameters: Path = _APP_ARMOR) -> bool:
    """Whether the kernel has AppArmor."""
    try:
        return parameters.read_text().startswith("Y")
    except OSError:
        return False


def _sandbox_fault(problem: str) -> RuntimeFault:
    return RuntimeFault("FailedCreatePodSandBox", f"Failed to create pod sandbox: {problem}")
