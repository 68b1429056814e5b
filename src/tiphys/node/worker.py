"""One pod's worker: looks at what is, asks `lifecycle` what to do, does it, reports the status, and looks again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tiphys.api import core_v1
from tiphys.api.base import to_builtins
from tiphys.client.client import Client, Unreachable
from tiphys.client.events import EventRecorder
from tiphys.machinery import timestamps
from tiphys.machinery.errors import StatusError
from tiphys.node import probes
from tiphys.node.environment import environment, expand
from tiphys.node.lifecycle import Backoff, Plan, decide, is_sidecar
from tiphys.node.references import References
from tiphys.node.runtime import EXITED, RUNNING, ContainerPlan, ContainerState, PodState, Runtime, RuntimeFault
from tiphys.node.status import pod_status
from tiphys.node.volumes import VolumeError, Volumes

log = logging.getLogger(__name__)

_REFRESH = 15.0  # seconds between looks at the objects that volumes are made from
_PULL_FIRST, _PULL_LIMIT = 10.0, 300.0


@dataclass
class Node:
    """What workers share: the node they are on and its services."""

    name: str
    address: str
    runtime: Runtime
    client: Client
    recorder: EventRecorder
    references: References
    volumes: Volumes
    services: Callable[[], list[core_v1.Service]]
    dns: tuple[list[str], str]  # (name servers, cluster domain)
    resolver: tuple[list[str], list[str], list[str]]  # the node's own servers, searches, options
    allocatable: dict[str, str] = field(default_factory=dict)
    starting: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(8))
    now: Callable[[], float] = time.time


class PodWorker:
    def __init__(self, node: Node, pod: core_v1.Pod, state: PodState | None = None) -> None:
        self._node, self.pod = node, pod
        self.state = state or PodState(pod.metadata.uid)
        self._wake = asyncio.Event()
        self._backoffs: dict[str, Backoff] = {}
        self._pulls: dict[str, Backoff] = {}
        self._waiting: dict[str, tuple[str, str]] = {}
        self._ready: set[str] = set()
        self._started: set[str] = set()
        self._unhealthy: set[str] = set()
        self._probers: dict[str, list[asyncio.Task[None]]] = {}
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._paths: dict[str, str] | None = None
        self._reported: Any = None
        self._stale = state is not None
        self._terminating = False
        self.gone = False

    # --- from outside ---

    def update(self, pod: core_v1.Pod) -> None:
        self.pod = pod
        self._wake.set()

    def differs(self, seen: PodState | None) -> bool:
        """Whether the runtime shows another state than this worker last saw."""
        mine = {(c.id, c.state) for c in self.state.containers.values()}
        theirs = {(c.id, c.state) for c in seen.containers.values()} if seen is not None else set()
        box, other = self.state.sandbox, seen.sandbox if seen is not None else None
        return mine != theirs or (box is not None and (other is None or (box.id, box.ready) != (other.id, other.ready)))

    def look(self) -> None:
        """The runtime may show something new."""
        self._stale = True
        self._wake.set()

    async def run(self) -> None:
        """Until the pod is gone from this node."""
        refreshed = time.monotonic()
        try:
            while not self.gone:
                self._wake.clear()
                wait = await self._step()
                if self.gone:
                    break
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), min(wait if wait is not None else _REFRESH, _REFRESH))
                if time.monotonic() - refreshed > _REFRESH and self._paths is not None:
                    refreshed = time.monotonic()
                    await self._refresh()
        finally:
            for task in [*self._starting.values(), *(t for tasks in self._probers.values() for t in tasks)]:
                task.cancel()

    async def _refresh(self) -> None:
        with contextlib.suppress(StatusError, Unreachable, OSError):
            await self._node.volumes.refresh(self.pod)

    # --- one look ---

    async def _step(self) -> float | None:
        try:
            if self._stale:
                self._stale = False
                self.state = await self._node.runtime.pod(self.pod.metadata.uid)
                self._note_exits()
            if self.pod.metadata.deletion_timestamp:
                return await self._terminate()
            self._watch_running()
            plan = decide(self.pod, self.state, self._node.now(), self._started, self._unhealthy, self._backoffs)
            return await self._carry_out(plan)
        except (RuntimeFault, VolumeError, StatusError, Unreachable, TimeoutError, OSError) as error:
            reason = (
                error.reason
                if isinstance(error, RuntimeFault)
                else "FailedMount"
                if isinstance(error, VolumeError)
                else "FailedSync"
            )
            if isinstance(error, RuntimeFault | VolumeError):
                text = f"MountVolume.SetUp failed: {error}" if isinstance(error, VolumeError) else str(error)
                self._event("Warning", reason, text)
            else:
                log.info("%s: %s", self.pod.metadata.name, error)
            await self._report()
            return 2.0

    def _event(self, kind: str, reason: str, message: str, container: str = "") -> None:
        path = f"spec.containers{{{container}}}" if container else ""
        self._node.recorder.record(self.pod, kind, reason, message, path)

    def _note_exits(self) -> None:
        """Reads what ended containers left behind, and stops asking them how they are."""
        specs = {c.name: c for c in [*self.pod.spec.containers, *self.pod.spec.init_containers]}
        for group in (self.state.containers, self.state.previous):
            for name, found in group.items():
                if found.state != EXITED:
                    continue
                if group is self.state.containers:
                    self._stop_probes(name)
                container = specs.get(name)
                if container is not None and not found.message:
                    found.message = self._last_words(container, found)

    def _last_words(self, container: Any, found: ContainerState) -> str:
        with contextlib.suppress(OSError):
            text = self._node.volumes.termination_log(
                self.pod.metadata.uid, container.name, found.attempt
            ).read_bytes()[:4096]
            if text:
                return text.decode(errors="replace")
        if container.termination_message_policy == "FallbackToLogsOnError" and found.exit_code:
            from tiphys.node.logs import tail

            meta = self.pod.metadata
            return tail(
                self._node.runtime.log_path(meta.namespace, meta.name, meta.uid, container.name, found.attempt), 80
            )[-2048:]
        return ""

    async def _carry_out(self, plan: Plan) -> float | None:
        self._waiting = {
            name: w
            for name, w in self._waiting.items()
            if name in self._starting
            or w[0]
            in (
                "ErrImagePull",
                "ImagePullBackOff",
                "ErrImageNeverPull",
                "CreateContainerConfigError",
                "CreateContainerError",
                "RunContainerError",
            )
        }
        meta = self.pod.metadata
        self._waiting |= {
            name: (reason, f"{text}{meta.name}_{meta.namespace}({meta.uid})")
            for name, (reason, text) in plan.waiting.items()
        }
        if plan.kill_pod:
            await self._kill(30.0)
        for found, why in plan.kill:
            self._unhealthy.discard(found.name)
            self._event("Normal", "Killing", why, found.name)
            self._stop_probes(found.name)
            await self._stop(found, self._grace())
            self._stale = True
        if plan.finished:
            await self._report(expired=self._expired())
            return None
        if plan.sandbox:
            await self._make_sandbox()
            self._wake.set()
            return None
        for container, attempt in plan.start:
            self._begin(container, attempt)
        await self._report()
        if plan.kill:
            self._wake.set()
        return plan.wake

    def _expired(self) -> bool:
        limit, begun = self.pod.spec.active_deadline_seconds, timestamps.parse(self.pod.status.start_time)
        return limit is not None and bool(begun) and self._node.now() - begun >= limit

    # --- starting ---

    def _names(self) -> tuple[str, str]:
        """(host name, domain) as the pod sees itself."""
        spec = self.pod.spec
        host = (spec.hostname_override or spec.hostname or self.pod.metadata.name)[:63].rstrip("-.")
        return host, f"{spec.subdomain}.{self.pod.metadata.namespace}.svc.{self._node.dns[1]}" if spec.subdomain else ""

    def _dns(self) -> tuple[list[str], list[str], list[str]]:
        spec, (servers, domain) = self.pod.spec, self._node.dns
        policy = spec.dns_policy
        if policy == "ClusterFirst" and spec.host_network:
            policy = "Default"
        if policy in ("ClusterFirst", "ClusterFirstWithHostNet"):
            namespace = self.pod.metadata.namespace
            own = [f"{namespace}.svc.{domain}", f"svc.{domain}", domain]
            found = (list(servers), own + [s for s in self._node.resolver[1] if s not in own], ["ndots:5"])
        else:
            found = ([], [], []) if policy == "None" else tuple(map(list, self._node.resolver))  # type: ignore[assignment]
        extra = spec.dns_config
        if extra is not None:
            options = {o.split(":")[0]: o for o in found[2]} | {
                o.name: f"{o.name}:{o.value}" if o.value is not None else o.name for o in extra.options
            }
            found = (
                list(dict.fromkeys(found[0] + extra.nameservers)),
                list(dict.fromkeys(found[1] + extra.searches)),
                list(options.values()),
            )
        return found

    async def _make_sandbox(self) -> None:
        attempt = self.state.sandbox.attempt + 1 if self.state.sandbox else 0
        await self._report()
        if self.state.sandbox is not None:
            with contextlib.suppress(RuntimeFault):
                await self._node.runtime.stop_sandbox(self.state.sandbox.id)
        async with self._node.starting:
            made, paths = await asyncio.gather(
                self._node.runtime.run_sandbox(self.pod, attempt, self._dns(), self._names()[0]),
                self._volumes(), return_exceptions=True,
            )  # fmt: skip
        if isinstance(made, BaseException):
            raise made
        self.state.sandbox = made
        self._node.volumes.write_hosts(self.pod, made.ip or self._node.address, *self._names())
        if isinstance(paths, BaseException):
            raise paths

    async def _volumes(self) -> dict[str, str]:
        if self._paths is None:
            self._paths = await self._node.volumes.set_up(self.pod)
        return self._paths

    def _begin(self, container: Any, attempt: int) -> None:
        if container.name in self._starting:
            return
        blocked = self._pulls.get(container.name)
        if blocked is not None and blocked.last + blocked.delay > self._node.now():
            asyncio.get_running_loop().call_later(
                blocked.last + blocked.delay - self._node.now() + 0.05, self._wake.set
            )
            return
        task = asyncio.get_running_loop().create_task(self._start(container, attempt), name=f"start-{container.name}")
        self._starting[container.name] = task
        task.add_done_callback(lambda _: self._start_ended(container.name))

    def _start_ended(self, name: str) -> None:
        self._starting.pop(name, None)
        self._wake.set()

    async def _start(self, container: Any, attempt: int) -> None:
        name, node = container.name, self._node
        try:
            await self._have_image(container)
            self._pulls.pop(name, None)
            paths = await self._volumes()
            env = await environment(
                self.pod, container, node.references, node.services(), node.address, node.allocatable
            )
            assert self.state.sandbox is not None
            if not self.pod.status.pod_ip:
                env |= self._own_address(container)
            plan = ContainerPlan(
                container, attempt, container.image, [expand(a, env) for a in container.command], [expand(a, env) for a in container.args],
                env, node.volumes.mounts(self.pod, container, paths, env, attempt),
            )  # fmt: skip
            async with node.starting:
                state = await node.runtime.start_container(self.pod, self.state.sandbox, plan)
        except RuntimeFault as fault:
            return self._failed_to_start(container, attempt, fault)
        except (VolumeError, StatusError, Unreachable, OSError, TimeoutError) as error:
            return self._failed_to_start(container, attempt, RuntimeFault("CreateContainerConfigError", str(error)))
        self._waiting.pop(name, None)
        before = self.state.containers.get(name)
        if before is not None and before.id != state.id:
            older, self.state.previous[name] = self.state.previous.get(name), before
            if older is not None:
                asyncio.get_running_loop().create_task(self._discard(older))
        self.state.containers[name] = state
        if attempt or before is not None:
            self._backoffs.setdefault(name, Backoff()).started(node.now())
        self._event("Normal", "Started", "Container started" if False else f"Started container {name}", name)
        if container.lifecycle is not None and container.lifecycle.post_start is not None:
            await self._post_start(container, state)
        if state.state == EXITED:
            self.look()

    def _own_address(self, container: Any) -> dict[str, str]:
        """The pod's address is known to us before the status has been written."""
        assert self.state.sandbox is not None
        ip = self._node.address if self.pod.spec.host_network else self.state.sandbox.ip
        return {
            v.name: ip for v in container.env
            if v.value_from and v.value_from.field_ref and v.value_from.field_ref.field_path in ("status.podIP", "status.podIPs")
        }  # fmt: skip

    async def _discard(self, container: ContainerState) -> None:
        with contextlib.suppress(RuntimeFault, TimeoutError):
            await self._node.runtime.remove_container(container.id)

    def _failed_to_start(self, container: Any, attempt: int, fault: RuntimeFault) -> None:
        reason = fault.reason
        self._event(
            "Warning",
            "Failed",
            f"Error: {fault}" if "Pull" not in reason else f'Failed to pull image "{container.image}": {fault}',
            container.name,
        )
        backoff = self._pulls.setdefault(container.name, Backoff())
        backoff.delay = min(max(backoff.delay * 2, _PULL_FIRST if "Pull" in reason else 2.0), _PULL_LIMIT)
        backoff.last = self._node.now()
        self._waiting[container.name] = (reason, str(fault))
        if reason == "ErrImagePull" and backoff.delay > _PULL_FIRST:
            self._waiting[container.name] = (
                "ImagePullBackOff",
                f'Back-off pulling image "{container.image}": ErrImagePull: {fault}',
            )
            self._event("Normal", "BackOff", f'Back-off pulling image "{container.image}"', container.name)
        elif reason == "ErrImagePull":
            later = asyncio.get_running_loop()
            later.call_later(1.5, self._show_pull_backoff, container, str(fault))

    def _show_pull_backoff(self, container: Any, fault: str) -> None:
        if self._waiting.get(container.name, ("", ""))[0] == "ErrImagePull":
            self._waiting[container.name] = (
                "ImagePullBackOff",
                f'Back-off pulling image "{container.image}": ErrImagePull: {fault}',
            )
            self._wake.set()

    async def _have_image(self, container: Any) -> None:
        runtime, image, policy = self._node.runtime, container.image, container.image_pull_policy
        present = await runtime.has_image(image)
        if policy == "Never" and not present:
            raise RuntimeFault(
                "ErrImageNeverPull", f'Container image "{image}" is not present with pull policy of Never'
            )
        if present and (policy != "Always" or _local(image)):
            self._event("Normal", "Pulled", f'Container image "{image}" already present on machine', container.name)
            return
        self._event("Normal", "Pulling", f'Pulling image "{image}"', container.name)
        began = time.monotonic()
        try:
            await runtime.pull(image, await self._pull_auth(image))
        except RuntimeFault:
            if present and policy == "Always":
                raise
            raise
        self._event(
            "Normal",
            "Pulled",
            f'Successfully pulled image "{image}" in {time.monotonic() - began:.3f}s',
            container.name,
        )

    async def _pull_auth(self, image: str) -> dict[str, str] | None:
        from tiphys.node.registries import credentials

        for ref in self.pod.spec.image_pull_secrets:
            secret = await self._node.references.get(core_v1.Secret, self.pod.metadata.namespace, ref.name)
            found = credentials(secret, image) if secret is not None else None
            if found is not None:
                return found
        return None

    async def _post_start(self, container: Any, state: ContainerState) -> None:
        ip = self.state.sandbox.ip if self.state.sandbox else ""
        ok, output = await probes.ask(
            container.lifecycle.post_start, container, state.id, ip or self._node.address, self._node.runtime, 3600
        )
        if not ok:
            self._event("Warning", "FailedPostStartHook", f"PostStartHook failed: {output}", container.name)
            await self._stop(state, self._grace())
            self.look()

    # --- probes ---

    def _watch_running(self) -> None:
        specs = [*self.pod.spec.containers, *(c for c in self.pod.spec.init_containers if is_sidecar(c))]
        for container in specs:
            found = self.state.containers.get(container.name)
            if found is None or found.state != RUNNING or f"{container.name}/{found.id}" in self._probers:
                continue
            self._stop_probes(container.name)
            self._probers[f"{container.name}/{found.id}"] = []
            if container.startup_probe is not None:
                self._probe("startup", container.startup_probe, container, found)
            else:
                self._after_startup(container, found)

    def _after_startup(self, container: Any, found: ContainerState) -> None:
        self._started.add(container.name)
        if container.readiness_probe is not None:
            self._probe("readiness", container.readiness_probe, container, found)
        else:
            self._ready.add(container.name)
        if container.liveness_probe is not None:
            self._probe("liveness", container.liveness_probe, container, found)

    def _probe(self, kind: str, probe: core_v1.Probe, container: Any, found: ContainerState) -> None:
        def ip() -> str:
            boxed = self.state.sandbox.ip if self.state.sandbox else ""
            return self._node.address if self.pod.spec.host_network else boxed

        prober = probes.Prober(kind, probe, container, found.id, self._node.runtime, ip)
        task = asyncio.get_running_loop().create_task(prober.run(self._reported_probe), name=f"{kind}-{container.name}")
        self._probers.setdefault(f"{container.name}/{found.id}", []).append(task)

    def _reported_probe(self, prober: probes.Prober, success: bool, output: str) -> None:
        name, found = prober.container.name, self.state.containers.get(prober.container.name)
        if found is None or found.id != prober.id:
            return
        if not success:
            self._event("Warning", "Unhealthy", f"{prober.kind.title()} probe failed: {output}", name)
        if prober.kind == "readiness":
            (self._ready.add if prober.verdict.well else self._ready.discard)(name)
        elif prober.kind == "startup" and prober.verdict.well:
            self._after_startup(prober.container, found)
        elif not prober.verdict.well and not success and prober.verdict._run >= prober.probe.failure_threshold:
            self._unhealthy.add(name)
        self._wake.set()

    def _stop_probes(self, name: str) -> None:
        self._ready.discard(name)
        self._started.discard(name)
        self._unhealthy.discard(name)
        for key in [key for key in self._probers if key.split("/")[0] == name]:
            for task in self._probers.pop(key):
                task.cancel()

    # --- stopping ---

    def _grace(self) -> float:
        given = self.pod.metadata.deletion_grace_period_seconds
        return float(given if given is not None else self.pod.spec.termination_grace_period_seconds or 30)

    async def _stop(self, found: ContainerState, grace: float) -> None:
        specs = [*self.pod.spec.containers, *self.pod.spec.init_containers]
        container = next((c for c in specs if c.name == found.name), None)
        began = time.monotonic()
        if (
            container is not None
            and container.lifecycle is not None
            and container.lifecycle.pre_stop is not None
            and grace > 0
        ):
            ip = self.state.sandbox.ip if self.state.sandbox else ""
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    ok, output = await probes.ask(
                        container.lifecycle.pre_stop,
                        container,
                        found.id,
                        ip or self._node.address,
                        self._node.runtime,
                        grace,
                    )
                    if not ok:
                        self._event("Warning", "FailedPreStopHook", f"PreStopHook failed: {output}", found.name)
        left = max(
            0.0 if grace == 0 else 2.0 if time.monotonic() - began > grace - 2 else 0.0,
            grace - (time.monotonic() - began),
        )
        with contextlib.suppress(TimeoutError):
            await self._node.runtime.stop_container(found.id, left)

    async def _kill(self, grace: float, say: bool = False) -> None:
        """Stops everything: the main containers together, then the sidecars in reverse order, then the sandbox."""
        for task in self._starting.values():
            task.cancel()
        running = [c for c in self.state.containers.values() if c.state == RUNNING]
        sidecars = [c.name for c in self.pod.spec.init_containers if is_sidecar(c)]
        for found in running:
            self._stop_probes(found.name)
            if say:
                self._event("Normal", "Killing", f"Stopping container {found.name}", found.name)
        await asyncio.gather(*(self._stop(found, grace) for found in running if found.name not in sidecars))
        for name in reversed(sidecars):
            for found in running:
                if found.name == name:
                    await self._stop(found, grace)
        if self.state.sandbox is not None and self.state.sandbox.ready:
            await self._node.runtime.stop_sandbox(self.state.sandbox.id)
            self.state.sandbox.ready = False
        for found in running:
            self.state.containers[found.name] = await self._node.runtime.container(found)
        self._note_exits()

    async def _terminate(self) -> float | None:
        if not self._terminating:
            self._terminating = True
            killing = asyncio.get_running_loop().create_task(self._kill(self._grace(), say=True))
            grace = self._grace()
            while not killing.done():
                waking = asyncio.get_running_loop().create_task(self._wake.wait())
                await asyncio.wait({killing, waking}, return_when=asyncio.FIRST_COMPLETED)
                waking.cancel()
                self._wake.clear()
                if not killing.done() and self._grace() < grace:  # somebody lost patience
                    grace = self._grace()
                    for found in [c for c in self.state.containers.values() if c.state == RUNNING]:
                        with contextlib.suppress(RuntimeFault, TimeoutError):
                            await self._node.runtime.stop_container(found.id, grace)
            try:
                await killing
            except (RuntimeFault, TimeoutError):
                self._terminating = False
                raise
        await self._report(final=True)
        meta = self.pod.metadata
        with contextlib.suppress(StatusError):
            await self._node.client.delete(core_v1.Pod, meta.name, meta.namespace, grace=0, uid=meta.uid)
        # Nothing runs and the address is given back: what is left on disk is nobody's business but ours.
        self.gone = True
        await self._clean_up()
        return None

    async def _clean_up(self) -> None:
        boxes = [*self.state.old_sandboxes, *([self.state.sandbox.id] if self.state.sandbox else [])]
        for id in boxes:
            with contextlib.suppress(RuntimeFault, TimeoutError):
                await self._node.runtime.remove_sandbox(id)
        uid = self.pod.metadata.uid
        await asyncio.to_thread(self._node.volumes.tear_down, uid)
        self._node.references.forget(uid)
        self._node.runtime.forget(uid)  # type: ignore[attr-defined]

    # --- reporting ---

    async def _report(self, final: bool = False, expired: bool = False) -> None:
        if expired and self.pod.status.reason != "DeadlineExceeded":
            self.pod.status.phase, self.pod.status.reason = "Failed", "DeadlineExceeded"
            self.pod.status.message = "Pod was active on the node longer than the specified deadline"
        scheme = self._node.runtime.name.partition(":")[0]
        ready = set() if final else self._ready
        status = pod_status(
            self.pod, self.state, self._waiting, ready, self._started, scheme, self._node.address, self._node.now()
        )
        if (
            final
            and status.phase not in ("Failed", "Succeeded")
            and all(s.state.terminated for s in status.container_statuses)
            and status.container_statuses
        ):
            status.phase = (
                "Failed"
                if any(s.state.terminated.exit_code for s in status.container_statuses if s.state.terminated)
                else "Succeeded"
            )
        value = to_builtins(status)
        if value == self._reported:
            return
        for name in ("reason", "message"):
            value.setdefault(name, None)
        change = {"metadata": {"uid": self.pod.metadata.uid}, "status": value}
        meta = self.pod.metadata
        try:
            updated = await self._node.client.patch(core_v1.Pod, meta.name, change, meta.namespace, "status")
        except StatusError as error:
            if error.code in (404, 409):
                return
            raise
        self._reported = to_builtins(status)
        if int(updated.metadata.resource_version) > int(meta.resource_version):
            self.pod = updated


def _local(image: str) -> bool:
    """Built on this machine and in no registry."""
    return image.startswith(("localhost/", "tiphys.local/"))
