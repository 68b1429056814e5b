"""Pods as containers of a CRI runtime (containerd)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc.aio
import msgspec

from tiphys.api import core_v1
from tiphys.machinery import handles, quantity
from tiphys.node.cri import messages as m
from tiphys.node.cri import rotation, snapshots
from tiphys.node.cri.client import CRIClient
from tiphys.node.mounts import mount_read_only
from tiphys.node.runtime import (
    CREATED,
    EXITED,
    RUNNING,
    ContainerPlan,
    ContainerState,
    PodState,
    RuntimeFault,
    SandboxState,
    Usage,
)

log = logging.getLogger(__name__)

_POD, _NAMESPACE, _UID, _CONTAINER = (
    f"io.kubernetes.{n}" for n in ("pod.name", "pod.namespace", "pod.uid", "container.name")
)
_STATES = {0: CREATED, 1: RUNNING, 2: EXITED, 3: EXITED}
_NODE, _POD_MODE, _CONTAINER_MODE, _TARGET = 2, 0, 1, 3
_RELIST = 3.0  # seconds between looks at everything, should an event be lost


class CRIRuntime:
    """`logs` is the folder of container logs, `cgroup` the parent of every pod's control group."""

    gives_devices = False

    def __init__(self, socket: str, logs: Path, cgroup: str) -> None:
        self._client = CRIClient(socket)
        self._logs, self._cgroup = logs, cgroup
        self._configs: dict[str, m.PodSandboxConfig] = {}
        self._images: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self.name = "containerd://unknown"

    async def start(self, wake: Callable[[str], None]) -> None:
        version = await self._client.call(
            "RuntimeService/Version", m.VersionRequest(version="v1"), m.VersionResponse
        )
        self.name = f"{version.runtime_name}://{version.runtime_version.split('~')[0].lstrip('v')}"
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._listen(wake)), loop.create_task(self._tick(wake))]

    async def _listen(self, wake: Callable[[str], None]) -> None:
        """Wakes at every exit of a task; the look that follows finds out whose it was."""
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                async for envelope in self._client.events():
                    if b"/tasks/exit" in envelope or b"/tasks/oom" in envelope:
                        wake("")
            await asyncio.sleep(1.0)

    async def _tick(self, wake: Callable[[str], None]) -> None:
        while True:
            await asyncio.sleep(_RELIST)
            wake("")

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self._client.close()

    # --- what there is ---

    async def pods(self, labels: dict[str, str] | None = None) -> dict[str, PodState]:
        boxes, inside = m.ListPodSandboxRequest(), m.ListContainersRequest()
        if labels:
            boxes.filter, inside.filter = (
                m.PodSandboxFilter(label_selector=labels),
                m.ContainerFilter(label_selector=labels),
            )
        sandboxes, containers = await asyncio.gather(
            self._client.call("RuntimeService/ListPodSandbox", boxes, m.ListPodSandboxResponse),
            self._client.call("RuntimeService/ListContainers", inside, m.ListContainersResponse),
        )
        found: dict[str, PodState] = {}
        for box in sorted(sandboxes.items, key=lambda b: b.created_at):
            meta = box.metadata or m.PodSandboxMetadata()
            state = found.setdefault(meta.uid, PodState(meta.uid, meta.name, meta.namespace))
            if state.sandbox is not None:
                state.old_sandboxes.append(state.sandbox.id)
            state.sandbox = SandboxState(
                box.id, meta.attempt, box.state == 0, created_at=box.created_at / 1e9
            )
        for item in sorted(containers.containers, key=lambda c: c.created_at):
            uid = item.labels.get(_UID, "")
            state = found.setdefault(
                uid, PodState(uid, item.labels.get(_POD, ""), item.labels.get(_NAMESPACE, ""))
            )
            meta_c = item.metadata or m.ContainerMetadata()
            self._add(
                state,
                ContainerState(
                    item.id,
                    meta_c.name,
                    meta_c.attempt,
                    _STATES[item.state],
                    item.created_at / 1e9,
                    sandbox=item.pod_sandbox_id,
                ),
            )
        return found

    @staticmethod
    def _add(state: PodState, container: ContainerState) -> None:
        before = state.containers.get(container.name)
        if before is not None:
            if container.name in state.previous:
                state.old.append(state.previous[container.name])
            state.previous[container.name] = before
        state.containers[container.name] = container

    async def pod(self, uid: str) -> PodState:
        state = (await self.pods({_UID: uid})).get(uid) or PodState(uid)
        if state.sandbox is not None:
            state.sandbox = await self._sandbox(state.sandbox)
        for group in (state.containers, state.previous):
            for name in list(group):
                group[name] = await self.container(group[name])
        return state

    async def _sandbox(self, box: SandboxState) -> SandboxState:
        with contextlib.suppress(RuntimeFault):
            request = m.PodSandboxStatusRequest(pod_sandbox_id=box.id, verbose=True)
            answer = await self._client.call(
                "RuntimeService/PodSandboxStatus", request, m.PodSandboxStatusResponse
            )
            if answer.status is not None:
                box.ready = answer.status.state == 0
                box.ip = answer.status.network.ip if answer.status.network else ""
            with contextlib.suppress(msgspec.DecodeError, KeyError):
                box.pid = msgspec.json.decode(answer.info["info"])["pid"]
        return box

    async def container(self, known: ContainerState) -> ContainerState:
        """The container as it is now."""
        try:
            request = m.ContainerStatusRequest(container_id=known.id)
            status = (
                await self._client.call(
                    "RuntimeService/ContainerStatus", request, m.ContainerStatusResponse
                )
            ).status
        except RuntimeFault:
            return known
        if status is None:
            return known
        return ContainerState(
            known.id,
            known.name,
            known.attempt,
            _STATES[status.state],
            status.created_at / 1e9,
            status.started_at / 1e9,
            max(0, status.finished_at) / 1e9,
            status.exit_code,
            status.reason,
            status.message,
            status.image.image if status.image else "",
            status.image_ref,
            known.sandbox,
        )

    # --- images ---

    async def has_image(self, image: str) -> bool:
        if image in self._images:
            return True
        found = await self._image(image)
        if found is not None and found.id:
            self._images.add(image)
            return True
        return False

    async def image_user(self, image: str) -> tuple[int | None, str]:
        found = await self._image(image)
        if found is None:
            return None, ""
        return found.uid.value if found.uid is not None else None, found.username

    async def image_size(self, image: str) -> int:
        found = await self._image(image)
        return found.size if found is not None else 0

    async def _image(self, image: str) -> m.Image | None:
        request = m.ImageStatusRequest(image=m.ImageSpec(image=image))
        return (
            await self._client.call("ImageService/ImageStatus", request, m.ImageStatusResponse)
        ).image

    async def pull(self, image: str, auth: dict[str, str] | None) -> None:
        request = m.PullImageRequest(image=m.ImageSpec(image=image))
        if auth:
            request.auth = m.AuthConfig(**auth)
        try:
            await self._client.call(
                "ImageService/PullImage", request, m.PullImageResponse, timeout=1800
            )
        except RuntimeFault as fault:
            # Upstream tells the code of every answer, but of the one that says nothing.
            code = fault.reason.title().replace("_", "")
            told = str(fault) if code == "Unknown" else f"rpc error: code = {code} desc = {fault}"
            raise RuntimeFault("ErrImagePull", told) from None
        except TimeoutError:
            raise RuntimeFault(
                "ErrImagePull", f"pulling {image} took longer than 30 minutes"
            ) from None

    async def mount_image(self, image: str, uid: str, volume: str, place: Path) -> None:
        if os.path.ismount(place):
            return
        request = m.ImageStatusRequest(image=m.ImageSpec(image=image), verbose=True)
        told = await self._client.call("ImageService/ImageStatus", request, m.ImageStatusResponse)
        chain = msgspec.json.decode(told.info.get("info", "{}")).get("chainID", "")
        view = snapshots.view_of(chain, uid, volume)
        try:
            [made] = await self._client.snapshots("View", view, snapshots.MountsResponse)
        except RuntimeFault as fault:
            if fault.reason != "ALREADY_EXISTS":
                raise RuntimeFault(
                    "CreateContainerError", f"failed to mount image volume: {fault}"
                ) from None
            wanted = snapshots.MountsRequest(key=view.key)
            [made] = await self._client.snapshots("Mounts", wanted, snapshots.MountsResponse)
        try:
            for one in made.mounts:
                await asyncio.to_thread(mount_read_only, one.type, one.source, one.options, place)
        except OSError as error:
            raise RuntimeFault(
                "CreateContainerError", f"failed to mount image volume: {error}"
            ) from None

    async def release_images(self, uid: str) -> None:
        for answer in await self._client.snapshots(
            "List", snapshots.of_pod(uid), snapshots.ListResponse
        ):
            for one in answer.info:
                with contextlib.suppress(RuntimeFault):
                    await self._client.snapshots(
                        "Remove", snapshots.RemoveRequest(key=one.name), snapshots.RemoveResponse
                    )

    async def images(self) -> list[tuple[list[str], int]]:
        answer = await self._client.call(
            "ImageService/ListImages", m.ListImagesRequest(), m.ListImagesResponse
        )
        return [([*image.repo_digests, *image.repo_tags], image.size) for image in answer.images]

    # --- sandboxes ---

    async def run_sandbox(
        self,
        pod: core_v1.Pod,
        attempt: int,
        dns: tuple[list[str], list[str], list[str]],
        hostname: str,
    ) -> SandboxState:
        if pod.spec.host_users is False:
            why = "can't set `spec.hostUsers: false`, runtime does not support user namespaces"
            raise RuntimeFault("FailedCreatePodSandBox", f"Failed to create pod sandbox: {why}")
        config = self._sandbox_config(pod, attempt, dns, hostname)
        self._make_log_folder(pod)
        try:
            request = m.RunPodSandboxRequest(config=config)
            answer = await self._client.call(
                "RuntimeService/RunPodSandbox", request, m.RunPodSandboxResponse, timeout=240
            )
        except RuntimeFault as fault:
            raise RuntimeFault(
                "FailedCreatePodSandBox", f"Failed to create pod sandbox: {fault}"
            ) from None
        self._configs[pod.metadata.uid] = config
        return await self._sandbox(SandboxState(answer.pod_sandbox_id, attempt, True))

    def _make_log_folder(self, pod: core_v1.Pod, container: str = "") -> None:
        meta = pod.metadata
        self._logs.mkdir(parents=True, exist_ok=True)
        path = f"{_log_folder(meta.namespace, meta.name, meta.uid)}/{container}"
        with handles.folder(self._logs) as logs, handles.folder(path, logs, make=0o755):
            pass

    def _sandbox_config(
        self,
        pod: core_v1.Pod,
        attempt: int,
        dns: tuple[list[str], list[str], list[str]],
        hostname: str,
    ) -> m.PodSandboxConfig:
        meta, spec = pod.metadata, pod.spec
        security = m.LinuxSandboxSecurityContext(
            namespace_options=_namespaces(spec), privileged=_privileged(spec)
        )
        security.seccomp = m.SecurityProfile(profile_type=1)
        servers, searches, options = dns
        return m.PodSandboxConfig(
            metadata=m.PodSandboxMetadata(
                name=meta.name, uid=meta.uid, namespace=meta.namespace, attempt=attempt
            ),
            hostname="" if spec.host_network else hostname,
            log_directory=str(self._logs / _log_folder(meta.namespace, meta.name, meta.uid)),
            dns_config=m.DNSConfig(servers=servers, searches=searches, options=options),
            labels={**meta.labels, _POD: meta.name, _NAMESPACE: meta.namespace, _UID: meta.uid},
            annotations=dict(meta.annotations),
            linux=m.LinuxPodSandboxConfig(
                cgroup_parent=f"{self._cgroup}/pod{meta.uid}",
                security_context=security,
                sysctls={s.name: s.value for s in spec.security_context.sysctls}
                if spec.security_context
                else {},
            ),
        )

    async def stop_sandbox(self, id: str) -> None:
        await self._client.call(
            "RuntimeService/StopPodSandbox",
            m.StopPodSandboxRequest(pod_sandbox_id=id),
            m.StopPodSandboxResponse,
        )

    async def remove_sandbox(self, id: str) -> None:
        await self._client.call(
            "RuntimeService/RemovePodSandbox",
            m.RemovePodSandboxRequest(pod_sandbox_id=id),
            m.RemovePodSandboxResponse,
        )

    def forget(self, uid: str) -> None:
        """Removes what only a pod's life needed: its control groups."""
        self._configs.pop(uid, None)
        for root in (
            Path("/sys/fs/cgroup").iterdir()
            if not Path("/sys/fs/cgroup/cgroup.controllers").exists()
            else [Path("/sys/fs/cgroup")]
        ):
            with contextlib.suppress(OSError):
                os.rmdir(root / self._cgroup.lstrip("/") / f"pod{uid}")

    # --- containers ---

    async def start_container(
        self, pod: core_v1.Pod, sandbox: SandboxState, plan: ContainerPlan
    ) -> ContainerState:
        uid = pod.metadata.uid
        config = self._container_config(pod, plan)
        self._make_log_folder(pod, plan.container.name)
        box = self._configs.get(uid) or self._sandbox_config(pod, sandbox.attempt, ([], [], []), "")
        try:
            request = m.CreateContainerRequest(
                pod_sandbox_id=sandbox.id, config=config, sandbox_config=box
            )
            made = await self._client.call(
                "RuntimeService/CreateContainer", request, m.CreateContainerResponse
            )
        except RuntimeFault as fault:
            raise RuntimeFault("CreateContainerError", str(fault)) from None
        state = ContainerState(
            made.container_id, plan.container.name, plan.attempt, sandbox=sandbox.id
        )
        try:
            await self._client.call(
                "RuntimeService/StartContainer",
                m.StartContainerRequest(container_id=state.id),
                m.StartContainerResponse,
            )
        except RuntimeFault as fault:
            raise RuntimeFault("RunContainerError", str(fault)) from None
        return await self.container(state)

    def _container_config(self, pod: core_v1.Pod, plan: ContainerPlan) -> m.ContainerConfig:
        c, meta = plan.container, pod.metadata
        return m.ContainerConfig(
            metadata=m.ContainerMetadata(name=c.name, attempt=plan.attempt),
            image=m.ImageSpec(image=plan.image),
            command=plan.command,
            args=plan.args,
            working_dir=c.working_dir,
            envs=[m.KeyValue(key=k, value=v) for k, v in plan.env.items()],
            mounts=[
                m.Mount(
                    container_path=x.path,
                    host_path=x.host,
                    readonly=x.read_only,
                    propagation=x.propagation,
                )
                for x in plan.mounts
            ],
            labels={
                _POD: meta.name,
                _NAMESPACE: meta.namespace,
                _UID: meta.uid,
                _CONTAINER: c.name,
            },
            log_path=f"{c.name}/{plan.attempt}.log",
            stdin=c.stdin,
            stdin_once=c.stdin_once,
            tty=c.tty,
            linux=m.LinuxContainerConfig(
                resources=_resources(pod, c), security_context=_security(pod.spec, c, plan.target)
            ),
        )

    async def resize_container(
        self, pod: core_v1.Pod, container: core_v1.Container, id: str
    ) -> None:
        linux = _resources(pod, container)
        linux.oom_score_adj = 0  # not to be changed
        request = m.UpdateContainerResourcesRequest(container_id=id, linux=linux)
        await self._client.call(
            "RuntimeService/UpdateContainerResources", request, m.UpdateContainerResourcesResponse
        )

    async def stop_container(self, id: str, grace: float) -> None:
        request = m.StopContainerRequest(container_id=id, timeout=max(0, round(grace)))
        await self._client.call(
            "RuntimeService/StopContainer", request, m.StopContainerResponse, timeout=grace + 60
        )

    async def remove_container(self, id: str) -> None:
        await self._client.call(
            "RuntimeService/RemoveContainer",
            m.RemoveContainerRequest(container_id=id),
            m.RemoveContainerResponse,
        )

    async def exec(self, id: str, command: list[str], timeout: float) -> tuple[int, bytes]:
        request = m.ExecSyncRequest(container_id=id, cmd=command, timeout=max(1, round(timeout)))
        try:
            answer = await self._client.call(
                "RuntimeService/ExecSync", request, m.ExecSyncResponse, timeout=timeout + 5
            )
        except RuntimeFault as fault:
            if "timeout" in str(fault):
                raise TimeoutError(str(fault)) from None
            raise
        return answer.exit_code, answer.stdout + answer.stderr

    async def exec_url(
        self, id: str, command: list[str], stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> str:
        request = m.ExecRequest(
            container_id=id,
            cmd=command,
            tty=tty,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr and not tty,
        )
        return (await self._client.call("RuntimeService/Exec", request, m.ExecResponse)).url

    async def attach_url(self, id: str, stdin: bool, stdout: bool, stderr: bool, tty: bool) -> str:
        request = m.AttachRequest(
            container_id=id, tty=tty, stdin=stdin, stdout=stdout, stderr=stderr and not tty
        )
        return (await self._client.call("RuntimeService/Attach", request, m.AttachResponse)).url

    async def port_forward_url(self, sandbox: str, ports: list[int]) -> str:
        request = m.PortForwardRequest(pod_sandbox_id=sandbox, port=ports)
        return (
            await self._client.call("RuntimeService/PortForward", request, m.PortForwardResponse)
        ).url

    def open_log(self, namespace: str, pod: str, uid: str, container: str, attempt: int) -> int:
        """No link is followed: pods that have the node's /var/log mounted put them there, to read any file with."""
        with handles.folder(self._logs) as logs:
            return handles.open_file(
                logs, f"{_log_folder(namespace, pod, uid)}/{container}/{attempt}.log"
            )

    def log_folder(self, namespace: str, pod: str, uid: str) -> Path | None:
        return self._logs / _log_folder(namespace, pod, uid)

    async def rotate_log(
        self, namespace: str, pod: str, uid: str, container: ContainerState
    ) -> None:
        folder, name = (
            f"{_log_folder(namespace, pod, uid)}/{container.name}",
            f"{container.attempt}.log",
        )
        if not rotation.is_full(self._logs, folder, name):
            return
        aside = await asyncio.to_thread(rotation.set_aside, self._logs, folder, name)
        request = m.ReopenContainerLogRequest(container_id=container.id)
        try:
            await self._client.call(
                "RuntimeService/ReopenContainerLog", request, m.ReopenContainerLogResponse
            )
        except (RuntimeFault, TimeoutError):
            rotation.put_back(self._logs, folder, aside, name)
            raise

    def remove_log(self, namespace: str, pod: str, uid: str, container: ContainerState) -> None:
        folder = f"{_log_folder(namespace, pod, uid)}/{container.name}"
        rotation.remove(self._logs, folder, f"{container.attempt}.log")

    def log_folders(self) -> set[str]:
        return set(rotation.left(self._logs))

    def remove_logs(self, uid: str) -> None:
        if folder := rotation.left(self._logs).get(uid):
            rotation.remove_folder(self._logs, folder)

    async def usage(self) -> dict[str, dict[str, Usage]]:
        answer = await self._client.call(
            "RuntimeService/ListContainerStats",
            m.ListContainerStatsRequest(),
            m.ListContainerStatsResponse,
        )
        found: dict[str, dict[str, Usage]] = {}
        for stats in answer.stats:
            if stats.attributes is None:
                continue
            labels, cpu, memory = (
                stats.attributes.labels,
                stats.cpu or m.CpuUsage(),
                stats.memory or m.MemoryUsage(),
            )
            found.setdefault(labels.get(_UID, ""), {})[labels.get(_CONTAINER, "")] = Usage(
                *(
                    one.value if one is not None else 0
                    for one in (
                        cpu.usage_core_nano_seconds,
                        memory.working_set_bytes,
                        memory.usage_bytes,
                        memory.rss_bytes,
                        memory.page_faults,
                        memory.major_page_faults,
                        memory.available_bytes,
                        stats.writable_layer.used_bytes if stats.writable_layer else None,
                    )
                )
            )
        return found


def _log_folder(namespace: str, pod: str, uid: str) -> str:
    return f"{namespace}_{pod}_{uid}"


def _privileged(spec: core_v1.PodSpec) -> bool:
    return any(
        c.security_context is not None and c.security_context.privileged
        for c in [*spec.containers, *spec.init_containers]
    )


def _namespaces(spec: core_v1.PodSpec) -> m.NamespaceOption:
    pid = _NODE if spec.host_pid else _POD_MODE if spec.share_process_namespace else _CONTAINER_MODE
    return m.NamespaceOption(
        network=_NODE if spec.host_network else 0, pid=pid, ipc=_NODE if spec.host_ipc else 0
    )


def _resources(pod: core_v1.Pod, c: Any) -> m.LinuxContainerResources:
    requests, limits = c.resources.requests, c.resources.limits
    cpu = (
        quantity.milli(requests["cpu"])
        if "cpu" in requests
        else quantity.milli(limits.get("cpu", "0"))
    )
    made = m.LinuxContainerResources(
        cpu_shares=max(2, cpu * 1024 // 1000), oom_score_adj=_oom(pod, c)
    )
    if "cpu" in limits:
        made.cpu_period, made.cpu_quota = 100_000, max(1000, quantity.milli(limits["cpu"]) * 100)
    if "memory" in limits:
        made.memory_limit_in_bytes = quantity.ceil_units(limits["memory"])
    return made


def _oom(pod: core_v1.Pod, c: Any) -> int:
    """Who dies first when memory runs out: best effort 1000, guaranteed -997, others by what they asked for."""
    if pod.status.qos_class == "Guaranteed":
        return -997
    if pod.status.qos_class == "BestEffort" or "memory" not in c.resources.requests:
        return 1000 if pod.status.qos_class == "BestEffort" else 999
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(
        999, max(3, 1000 - 1000 * quantity.ceil_units(c.resources.requests["memory"]) // total)
    )


def _security(spec: core_v1.PodSpec, c: Any, target: str = "") -> m.LinuxContainerSecurityContext:
    own, shared = (
        c.security_context or core_v1.SecurityContext(),
        spec.security_context or core_v1.PodSecurityContext(),
    )
    namespaces = _namespaces(spec)
    made = m.LinuxContainerSecurityContext(
        namespace_options=namespaces, privileged=bool(own.privileged)
    )
    if target:
        namespaces.pid, namespaces.target_id = _TARGET, target
    user = own.run_as_user if own.run_as_user is not None else shared.run_as_user
    group = own.run_as_group if own.run_as_group is not None else shared.run_as_group
    if user is not None:
        made.run_as_user = m.Int64Value(value=user)
        made.run_as_group = m.Int64Value(value=group) if group is not None else None
    made.readonly_rootfs = bool(own.read_only_root_filesystem)
    made.no_new_privs = own.allow_privilege_escalation is False
    made.supplemental_groups = [
        *shared.supplemental_groups,
        *([shared.fs_group] if shared.fs_group is not None else []),
    ]
    if own.capabilities is not None:
        made.capabilities = m.Capability(
            add_capabilities=own.capabilities.add, drop_capabilities=own.capabilities.drop
        )
    profile = own.seccomp_profile or shared.seccomp_profile
    confined = profile is not None and profile.type in (
        "RuntimeDefault",
        "Localhost",
    )  # profiles of files are not read
    made.seccomp = m.SecurityProfile(profile_type=0 if confined else 1)
    if not own.privileged:
        made.masked_paths = [
            "/proc/asound",
            "/proc/acpi",
            "/proc/kcore",
            "/proc/keys",
            "/proc/latency_stats",
            "/proc/timer_list",
            "/proc/timer_stats",
            "/proc/sched_debug",
            "/proc/scsi",
            "/sys/firmware",
        ]
        made.readonly_paths = [
            "/proc/bus",
            "/proc/fs",
            "/proc/irq",
            "/proc/sys",
            "/proc/sysrq-trigger",
        ]
    return made
