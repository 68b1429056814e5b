"""One pod's worker: looks at what is, asks `lifecycle` what to do, does it, reports the status, and looks again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tiphys.api import core_v1
from tiphys.client.client import Client, Unreachable
from tiphys.client.events import EventRecorder
from tiphys.machinery import timestamps
from tiphys.machinery.errors import StatusError
from tiphys.node import claims, probes
from tiphys.node.admission import Footprint
from tiphys.node.environment import environment, expand
from tiphys.node.eviction import excess, is_limited, measure
from tiphys.node.health import Health
from tiphys.node.isolation import Isolation, NoIsolation
from tiphys.node.lastwords import message_of
from tiphys.node.lifecycle import Backoff, Plan, decide
from tiphys.node.naming import host_and_domain, host_in_kernel, resolver_of
from tiphys.node.nonroot import must_not_be_root, refusal
from tiphys.node.pulling import have_image
from tiphys.node.references import References
from tiphys.node.reporting import StatusWriter
from tiphys.node.resize import Resources
from tiphys.node.restarting import is_sidecar
from tiphys.node.runtime import (
    EXITED,
    RUNNING,
    ContainerPlan,
    ContainerState,
    PodState,
    Runtime,
    RuntimeFault,
    Usage,
)
from tiphys.node.status import pod_status, settle
from tiphys.node.volumes import VolumeError, Volumes
from tiphys.node.waiting import Waiting

log = logging.getLogger(__name__)

_REFRESH = 15.0  # seconds between looks at the objects that volumes are made from
_RETRY = 2.0  # seconds after a step that failed
_EVICTION_GRACE = 1.0  # seconds that an evicted pod has, as upstream
_PROMPT = 0.05  # seconds that a step may take without being reported on its own


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
    isolation: Isolation = field(default_factory=NoIsolation)
    shortage: Callable[[PodWorker, Footprint], tuple[str, str] | None] = lambda worker, wanted: (
        None
    )  # if it were so large


class PodWorker:
    def __init__(self, node: Node, pod: core_v1.Pod, state: PodState | None = None) -> None:
        self._node, self.pod = node, pod
        self.state = state or PodState(pod.metadata.uid)
        self._wake = asyncio.Event()
        self._waiting = Waiting(node.now, self._event, self._wake.set)
        self._backoffs: dict[str, Backoff] = {}
        self._health = Health(node.runtime, self._address, self._event, self._wake.set)
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._started = 0  # how many starts have ended
        self._paths: dict[str, str] | None = None
        self._status = StatusWriter(node.client)
        self._stale = state is not None
        self._terminating = False
        self._evicted = ""  # why
        self.gone = False
        self.resources = Resources(pod)
        self.footprint = Footprint(self.resources.spec(pod))
        self.holds_room = False

    # --- from outside ---

    def update(self, pod: core_v1.Pod) -> None:
        self.pod = pod
        if pod.status.phase in ("Succeeded", "Failed"):
            self.holds_room = False
        self._wake.set()

    def differs(self, seen: PodState | None) -> bool:
        """Whether the runtime shows another state than this worker last saw."""
        mine = {(c.id, c.state) for c in self.state.containers.values()}
        theirs = {(c.id, c.state) for c in seen.containers.values()} if seen is not None else set()
        box, other = self.state.sandbox, seen.sandbox if seen is not None else None
        return mine != theirs or (
            box is not None and (other is None or (box.id, box.ready) != (other.id, other.ready))
        )

    def look(self) -> None:
        """The runtime may show something new."""
        self._stale = True
        self._wake.set()

    async def reject(self, reason: str, message: str) -> None:
        """Fails the pod without having run anything of it."""
        self._event("Warning", reason, message)
        status = {"phase": "Failed", "reason": reason, "message": f"Pod was rejected: {message}"}
        status["startTime"] = timestamps.rfc3339(self._node.now())
        meta = self.pod.metadata
        change = {"metadata": {"uid": meta.uid}, "status": status}
        try:
            await self._node.client.patch(core_v1.Pod, meta.name, change, meta.namespace, "status")
        except StatusError as error:
            if error.code not in (404, 409):
                raise

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
                    await asyncio.wait_for(
                        self._wake.wait(), min(wait if wait is not None else _REFRESH, _REFRESH)
                    )
                if time.monotonic() - refreshed > _REFRESH and self._has_volumes():
                    refreshed = time.monotonic()
                    await self._refresh()
        finally:
            for task in self._starting.values():
                task.cancel()
            self._health.stop_all()

    def _has_volumes(self) -> bool:
        """Whether they have been set up, by this agent or one before it."""
        return self._paths is not None or (
            self.state.sandbox is not None and self.state.sandbox.ready
        )

    async def _refresh(self) -> None:
        with contextlib.suppress(StatusError, Unreachable, OSError):
            await self._node.volumes.refresh(self.pod)

    # --- one look ---

    async def _step(self) -> float | None:
        try:
            if self._stale:
                self._stale = False
                await self._read_state()
                self._note_exits()
            if self.pod.metadata.deletion_timestamp:
                return await self._terminate()
            if self._evicted:
                await self._kill(_EVICTION_GRACE)
                await self._report()
                return None
            self._health.watch(self.pod, self.state)
            self._allocate()
            plan = decide(
                self.pod,
                self.state,
                self._node.now(),
                self._health.started,
                self._health.unhealthy,
                self._backoffs,
                self.resources.renewing,
            )
            # What is being started may show as made and not running, which is no reason to start it anew.
            plan.start = [
                (one, attempt) for one, attempt in plan.start if one.name not in self._starting
            ]
            await self._resize(plan)
            return await self._carry_out(plan)
        except (
            RuntimeFault,
            VolumeError,
            StatusError,
            Unreachable,
            TimeoutError,
            OSError,
        ) as error:
            reason = (
                error.reason
                if isinstance(error, RuntimeFault)
                else "FailedMount"
                if isinstance(error, VolumeError)
                else "FailedSync"
            )
            if isinstance(error, RuntimeFault | VolumeError):
                text = (
                    f"MountVolume.SetUp failed: {error}"
                    if isinstance(error, VolumeError)
                    else str(error)
                )
                self._event("Warning", reason, text)
            else:
                log.info("%s: %s", self.pod.metadata.name, error)
            with contextlib.suppress(StatusError, Unreachable):
                await self._report(final=self._terminating)
            return _RETRY
        except Exception:  # a mistake of ours in one step must not end the pod's only worker
            log.exception("pod %s/%s", self.pod.metadata.namespace, self.pod.metadata.name)
            return _RETRY

    async def _read_state(self) -> None:
        """What the runtime shows. What was read while a container was started may not show it yet, or not as running: it
        would be started a second time."""
        started = -1
        while started != self._started:
            started = self._started
            state = await self._node.runtime.pod(self.pod.metadata.uid)
        self.state = state

    def _address(self) -> str:
        """Where the pod's containers are reached."""
        boxed = self.state.sandbox.ip if self.state.sandbox else ""
        return self._node.address if self.pod.spec.host_network or not boxed else boxed

    def _event(self, kind: str, reason: str, message: str, container: str = "") -> None:
        spec = self.pod.spec
        kinds = (
            ("initContainers", spec.init_containers),
            ("ephemeralContainers", spec.ephemeral_containers),
        )
        group = next(
            (name for name, every in kinds if any(c.name == container for c in every)), "containers"
        )
        path = f"spec.{group}{{{container}}}" if container else ""
        self._node.recorder.record(self.pod, kind, reason, message, path)

    def _note_exits(self) -> None:
        """Reads what ended containers left behind, and stops asking them how they are."""
        specs = {c.name: c for c in [*self.pod.spec.containers, *self.pod.spec.init_containers]}
        for group in (self.state.containers, self.state.previous):
            for name, found in group.items():
                if found.state != EXITED:
                    continue
                if group is self.state.containers:
                    self._health.stop(name)
                container = specs.get(name)
                if container is not None and not found.message:
                    folder = self._node.volumes.folder(self.pod.metadata.uid)
                    found.message = message_of(
                        self.pod, container, found, folder, self._node.runtime
                    )

    async def _carry_out(self, plan: Plan) -> float | None:
        self._waiting.renew(plan.waiting, self._starting, self.pod)
        if plan.kill_pod:
            await self._kill(self._grace())
        for found, why in plan.kill:
            self._event("Normal", "Killing", why, found.name)
            grace = self._grace(found.name)
            self._health.stop(found.name)
            await self._stop(found, grace)
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
        if plan.start and self._starting:
            await asyncio.wait(self._starting.values(), timeout=_PROMPT)
            self._health.watch(self.pod, self.state)
        await self._report()
        if plan.kill:
            self._wake.set()
        return plan.wake

    def _expired(self) -> bool:
        limit, begun = (
            self.pod.spec.active_deadline_seconds,
            timestamps.parse(self.pod.status.start_time),
        )
        return limit is not None and bool(begun) and self._node.now() - begun >= limit

    # --- keeping house ---

    async def keep_house(self, used: Mapping[str, Usage]) -> None:
        """Begins new logs for containers that have written much, and evicts the pod if it has too much on disk. `used` is by
        container."""
        meta, runtime = self.pod.metadata, self._node.runtime
        for found in list(self.state.containers.values()):
            if found.state == RUNNING:
                try:
                    await runtime.rotate_log(meta.namespace, meta.name, meta.uid, found)
                except (OSError, RuntimeFault, TimeoutError) as error:
                    log.warning("the log of %s/%s: %s", meta.name, found.name, error)
        if (
            not is_limited(self.pod.spec)
            or self._evicted
            or self.pod.status.phase in ("Succeeded", "Failed")
        ):
            return
        scratch = {
            v.name: self._node.volumes.path(self.pod, v)
            for v in self.pod.spec.volumes
            if v.empty_dir is not None
        }
        folder = runtime.log_folder(meta.namespace, meta.name, meta.uid)
        logs = {name: folder / name for name in self.state.containers} if folder is not None else {}
        disk = {name: usage.disk for name, usage in used.items()}
        if (
            why := excess(self.pod.spec, await measure(self.pod.spec, scratch, logs, disk))
        ) and not self.gone:
            self._event("Warning", "Evicted", why)
            self._evicted = why
            self._wake.set()

    # --- resizing ---

    def _allocate(self) -> None:
        """Lets the pod have what its spec says, if there is room."""
        resources = self.resources
        if resources.wishes(self.pod) == resources.allocated:
            resources.pending = None
            return
        wanted, before = Footprint(self.pod.spec), resources.pending
        resources.pending = self._node.shortage(self, wanted)
        if resources.pending is None:
            resources.allocate(self.pod)
            self.footprint = wanted
        elif resources.pending != before:
            reason, message = resources.pending
            self._event("Warning", f"Resize{reason}", message)

    async def _resize(self, plan: Plan) -> None:
        """Gives running containers what they are let have now; those that must be started anew for it end."""
        resources = self.resources
        if plan.kill_pod or plan.sandbox or plan.finished:
            return
        unfinished = resources.unfinished(self.pod, self.state)
        for container, id, anew in unfinished:
            found = self.state.containers[container.name]
            if anew:
                resources.renewing.add(container.name)
                if all(found is not other for other, _ in plan.kill):
                    plan.kill.append((found, f"Container {container.name} resize requires restart"))
                continue
            try:
                await self._node.runtime.resize_container(self.pod, container, id)
            except (RuntimeFault, TimeoutError) as error:
                resources.error = str(error)
                self._event(
                    "Warning",
                    "ResizeError",
                    f"Resizing container {container.name}: {error}",
                    container.name,
                )
                plan.look_again(_RETRY)
                continue
            resources.error = ""
            resources.give(container.name, id, container.resources)
        if unfinished and not resources.renewing and not resources.unfinished(self.pod, self.state):
            self._event("Normal", "ResizeCompleted", "Pod resize completed")

    # --- starting ---

    async def _make_sandbox(self) -> None:
        if self.pod.spec.resource_claims and not self._node.runtime.gives_devices:
            await claims.prepare(self._node.client, self.pod)
        node, attempt = self._node, self.state.sandbox.attempt + 1 if self.state.sandbox else 0
        host, domain = host_and_domain(self.pod, node.dns[1])
        kernel_host = host_in_kernel(self.pod, host, domain)
        if self.state.sandbox is not None:
            self._event(
                "Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created."
            )
            await self._report()
            with contextlib.suppress(RuntimeFault):
                await self._node.runtime.stop_sandbox(self.state.sandbox.id)
        resolver = resolver_of(self.pod, *node.dns, node.resolver)

        async def making() -> Any:
            async with node.starting:
                return await asyncio.gather(
                    node.runtime.run_sandbox(self.pod, attempt, resolver, kernel_host),
                    self._volumes(),
                    return_exceptions=True,
                )

        making_both = asyncio.get_running_loop().create_task(
            making(), name=f"sandbox-{self.pod.metadata.name}"
        )
        try:
            if not (await asyncio.wait({making_both}, timeout=_PROMPT))[0]:
                await self._report()
            made, paths = await making_both
        finally:
            making_both.cancel()
        if isinstance(made, BaseException):
            raise made
        self.state.sandbox = made
        self._node.volumes.write_hosts(self.pod, made.ip or self._node.address, host, domain)
        if isinstance(paths, BaseException):
            raise paths

    async def _volumes(self) -> dict[str, str]:
        if self._paths is None:
            self._paths = await self._node.volumes.set_up(self.pod)
        return self._paths

    def _begin(self, container: Any, attempt: int) -> None:
        found = self.state.containers.get(container.name)
        if container.name in self._starting or (found is not None and found.attempt >= attempt):
            return  # it was started since this was decided
        if pause := self._waiting.pause(container.name):
            asyncio.get_running_loop().call_later(pause + 0.05, self._wake.set)
            return
        task = asyncio.get_running_loop().create_task(
            self._start(container, attempt), name=f"start-{container.name}"
        )
        self._starting[container.name] = task
        task.add_done_callback(lambda _: self._start_ended(container.name))

    def _start_ended(self, name: str) -> None:
        self._starting.pop(name, None)
        self._started += 1
        self._wake.set()

    async def _start(self, container: Any, attempt: int) -> None:
        name, node = container.name, self._node
        container = self.resources.of(container)
        try:
            await have_image(
                node.runtime,
                node.references,
                self.pod,
                container.image,
                container.image_pull_policy,
                name,
                self._event,
            )
            paths = await self._volumes()
            await self._show_images(container, paths)
            self._waiting.pulled(name)
            await self._check_user(container)
            env = await environment(
                self.pod,
                container,
                node.references,
                node.services(),
                node.address,
                node.allocatable,
                paths,
            )
            assert self.state.sandbox is not None
            if not self.pod.status.pod_ip:
                env |= self._own_address(container)
            plan = ContainerPlan(
                container,
                attempt,
                container.image,
                [expand(a, env) for a in container.command],
                [expand(a, env) for a in container.args],
                env,
                node.volumes.mounts(self.pod, container, paths, env, attempt),
                self._target(container),
            )
            await node.isolation.isolate(self.pod, self.state.sandbox.ip)
            async with node.starting:
                state = await node.runtime.start_container(self.pod, self.state.sandbox, plan)
        except RuntimeFault as fault:
            if fault.reason == "RunContainerError" and attempt:
                self._backoffs.setdefault(name, Backoff()).started(node.now())
            self.look()  # it may have been made, and then its attempt is used up
            return self._waiting.failed(container, fault)
        except (VolumeError, StatusError, Unreachable, OSError, TimeoutError, ValueError) as error:
            self.look()
            return self._waiting.failed(
                container, RuntimeFault("CreateContainerConfigError", str(error))
            )
        self._waiting.started(name)
        self.resources.give(name, state.id, container.resources)
        renewed = name in self.resources.renewing
        self.resources.renewing.discard(name)
        before = self.state.containers.get(name)
        if before is not None and before.id != state.id:
            older, self.state.previous[name] = self.state.previous.get(name), before
            if older is not None:
                asyncio.get_running_loop().create_task(self._discard(older))
        self.state.containers[name] = state
        if (attempt or before is not None) and not renewed:
            self._backoffs.setdefault(name, Backoff()).started(node.now())
        self._event("Normal", "Created", f"Created container: {name}", name)
        self._event("Normal", "Started", f"Started container {name}", name)
        if container.lifecycle is not None and container.lifecycle.post_start is not None:
            await self._post_start(container, state)
        if state.state == EXITED:
            self.look()

    async def _show_images(self, container: Any, paths: dict[str, str]) -> None:
        """The files of images that volumes of a container are."""
        mounted = {mount.name for mount in container.volume_mounts}
        for volume in self.pod.spec.volumes:
            if volume.image is None or volume.name not in mounted:
                continue
            node, image = self._node, volume.image
            try:
                await have_image(
                    node.runtime,
                    node.references,
                    self.pod,
                    image.reference,
                    image.pull_policy,
                    "",
                    self._event,
                )
            except RuntimeFault as fault:
                raise RuntimeFault(fault.reason, str(fault), image.reference) from None
            place = Path(paths[volume.name])
            await node.runtime.mount_image(
                image.reference, self.pod.metadata.uid, volume.name, place
            )

    def _target(self, container: Any) -> str:
        """The container whose processes this one sees, if it is to see any (``kubectl debug --target``)."""
        name = getattr(container, "target_container_name", "")
        if not name:
            return ""
        found = self.state.containers.get(name)
        if found is None:
            raise RuntimeFault(
                "CreateContainerConfigError", f"unable to find target container {name}"
            )
        return found.id

    async def _check_user(self, container: Any) -> None:
        if not must_not_be_root(self.pod, container):
            return
        user, user_name = await self._node.runtime.image_user(container.image)
        if why := refusal(self.pod, container, user, user_name):
            raise RuntimeFault("CreateContainerConfigError", why)

    def _own_address(self, container: Any) -> dict[str, str]:
        """The pod's address is known to us before the status has been written."""
        assert self.state.sandbox is not None
        ip = self._node.address if self.pod.spec.host_network else self.state.sandbox.ip
        return {
            v.name: ip
            for v in container.env
            if v.value_from
            and v.value_from.field_ref
            and v.value_from.field_ref.field_path in ("status.podIP", "status.podIPs")
        }

    async def _discard(self, container: ContainerState) -> None:
        with contextlib.suppress(RuntimeFault, TimeoutError):
            await self._node.runtime.remove_container(container.id)
        meta = self.pod.metadata
        self._node.runtime.remove_log(meta.namespace, meta.name, meta.uid, container)

    async def _post_start(self, container: Any, state: ContainerState) -> None:
        answer = await probes.ask(
            container.lifecycle.post_start,
            container,
            state.id,
            self._address(),
            self._node.runtime,
            3600,
        )
        if not answer.well:
            self._event(
                "Warning",
                "FailedPostStartHook",
                f"PostStartHook failed: {answer.text}",
                container.name,
            )
            await self._stop(state, self._grace())
            self.look()

    # --- stopping ---

    def _grace(self, name: str = "") -> float:
        """Seconds that the pod has, or a container of it that a probe has given up."""
        given = self.pod.metadata.deletion_grace_period_seconds
        if given is None:
            given = self._probes_grace(name)
        if given is None:
            given = self.pod.spec.termination_grace_period_seconds
        return 30.0 if given is None else float(given)

    def _probes_grace(self, name: str) -> int | None:
        kind = self._health.unhealthy.get(name)
        for container in [*self.pod.spec.containers, *self.pod.spec.init_containers]:
            if container.name == name:
                probe = {
                    "liveness": container.liveness_probe,
                    "startup": container.startup_probe,
                }.get(kind or "")
                return probe.termination_grace_period_seconds if probe is not None else None
        return None

    async def _stop(self, found: ContainerState, grace: float) -> None:
        specs = [*self.pod.spec.containers, *self.pod.spec.init_containers]
        container = next((c for c in specs if c.name == found.name), None)
        began, left = time.monotonic(), grace
        if (
            container is not None
            and container.lifecycle is not None
            and container.lifecycle.pre_stop is not None
            and grace > 0
        ):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    answer = await probes.ask(
                        container.lifecycle.pre_stop,
                        container,
                        found.id,
                        self._address(),
                        self._node.runtime,
                        grace,
                    )
                    if not answer.well:
                        self._event(
                            "Warning",
                            "FailedPreStopHook",
                            f"PreStopHook failed: {answer.text}",
                            found.name,
                        )
            # A hook that took all the time leaves the container two seconds to end by itself, as upstream gives.
            left = max(2.0, grace - (time.monotonic() - began))
        with contextlib.suppress(TimeoutError):
            await self._node.runtime.stop_container(found.id, left)

    async def _kill(self, grace: float, say: bool = False) -> None:
        """Stops everything: the main containers together, then the sidecars in reverse order, then the sandbox."""
        interrupted = bool(self._starting)
        for task in self._starting.values():
            task.cancel()
        running = [c for c in self.state.containers.values() if c.state == RUNNING]
        sidecars = [c.name for c in self.pod.spec.init_containers if is_sidecar(c)]
        for found in running:
            self._health.ending(found.name)
            if say:
                self._event("Normal", "Killing", f"Stopping container {found.name}", found.name)
        await asyncio.gather(
            *(self._stop(found, grace) for found in running if found.name not in sidecars)
        )
        for name in reversed(sidecars):
            for found in running:
                if found.name == name:
                    await self._stop(found, grace)
        if self.state.sandbox is not None and self.state.sandbox.ready:
            await self._node.runtime.stop_sandbox(self.state.sandbox.id)
            self.state.sandbox.ready = False
        for found in running:
            self.state.containers[found.name] = await self._node.runtime.container(found)
        if interrupted:  # a container may have been made of which we have not heard
            await self._read_state()
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
                if not killing.done():
                    await self._report_ending()
                if not killing.done() and self._grace() < grace:  # somebody lost patience
                    grace = self._grace()
                    for found in [c for c in self.state.containers.values() if c.state == RUNNING]:
                        with contextlib.suppress(RuntimeFault, TimeoutError):
                            await self._node.runtime.stop_container(found.id, grace)
            try:
                await killing
                if (
                    self._has_to_tell_of_its_end()
                ):  # what was read meanwhile may be older than the end
                    await self._read_state()
                    self._note_exits()
            except (RuntimeFault, TimeoutError):
                self._terminating = False
                raise
        await self._report(final=True)
        self.holds_room = False
        meta = self.pod.metadata
        try:
            await self._node.client.delete(
                core_v1.Pod, meta.name, meta.namespace, grace=0, uid=meta.uid
            )
        except StatusError as error:
            if error.code not in (
                404,
                409,
            ):  # it still stands there, and nobody else will take it away
                raise
        # Nothing runs and the address is given back: what is left on disk is nobody's business but ours.
        self.gone = True
        await self._clean_up()
        return None

    def _has_to_tell_of_its_end(self) -> bool:
        """Of a single container that has no probe the last report tells all there is."""
        spec = self.pod.spec
        return (
            len(spec.containers) + len(spec.init_containers) > 1
            or spec.containers[0].readiness_probe is not None
        )

    async def _report_ending(self) -> None:
        """Which containers have ended, and whether those that have not are ready."""
        if not self._has_to_tell_of_its_end():
            return
        try:
            if self._stale:
                self._stale = False
                await self._read_state()
                self._note_exits()
            if any(found.state == RUNNING for found in self.state.containers.values()):
                await self._report()
        except (RuntimeFault, StatusError, Unreachable, TimeoutError) as error:
            log.info("%s is ending: %s", self.pod.metadata.name, error)

    async def _clean_up(self) -> None:
        boxes = [
            *self.state.old_sandboxes,
            *([self.state.sandbox.id] if self.state.sandbox else []),
        ]
        for id in boxes:
            with contextlib.suppress(RuntimeFault, TimeoutError):
                await self._node.runtime.remove_sandbox(id)
        uid = self.pod.metadata.uid
        self._node.isolation.release(self.pod)
        await asyncio.to_thread(self._node.volumes.tear_down, uid)
        if any(volume.image is not None for volume in self.pod.spec.volumes):
            with contextlib.suppress(RuntimeFault):
                await self._node.runtime.release_images(uid)
        self._node.references.forget(uid)
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._node.runtime.remove_logs, uid)
        self._node.runtime.forget(uid)

    # --- reporting ---

    async def _report(self, final: bool = False, expired: bool = False) -> None:
        if self._evicted:
            status = self.pod.status
            status.phase, status.reason, status.message = "Failed", "Evicted", self._evicted
        if expired and self.pod.status.reason != "DeadlineExceeded":
            self.pod.status.phase, self.pod.status.reason = "Failed", "DeadlineExceeded"
            self.pod.status.message = (
                "Pod was active on the node longer than the specified deadline"
            )
        scheme = self._node.runtime.name.partition(":")[0]
        ready = set() if final else self._health.ready
        status = pod_status(
            self.pod,
            self.state,
            self._waiting.reasons,
            ready,
            self._health.started,
            scheme,
            self._node.address,
            self._node.now(),
            self.resources,
        )
        if final:
            settle(self.pod, status)
        if status.phase in ("Succeeded", "Failed"):
            self.holds_room = False  # before anybody hears of it, and sends the next pod
        written = await self._status.write(self.pod, status)
        if int(written.metadata.resource_version) > int(
            self.pod.metadata.resource_version
        ):  # else news has come meanwhile
            self.pod = written
