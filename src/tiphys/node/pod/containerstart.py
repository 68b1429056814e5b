"""Starting the containers of a pod: image, volumes, environment, isolation, and the hook after."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from tiphys.client.client import Unreachable
from tiphys.machinery.errors import StatusError
from tiphys.node.containers.backoff import RestartBackoff
from tiphys.node.containers.environment import ContainerFacts, environment, expand
from tiphys.node.containers.nonroot import must_not_be_root, non_root_violation
from tiphys.node.containers.records import ContainerRecord
from tiphys.node.images.pulling import ImagePuller, ImageRequest
from tiphys.node.pod.managedpod import ManagedPod
from tiphys.node.pod.runtimehandler import handler_of
from tiphys.node.pod.termination import PodTerminator
from tiphys.node.podmetrics import kind_of
from tiphys.node.probes.prober import Target
from tiphys.node.profiles import seccomp_of
from tiphys.node.runtime import Confinement, ContainerPlan, Mount, RuntimeFault
from tiphys.node.states import EXITED, ContainerState
from tiphys.node.volumes.readonly import is_recursive
from tiphys.node.volumes.volumefiles import VolumeError

_AFTER_PAUSE = 0.05  # seconds after a pause is over at which to try again
_HOOK_TIMEOUT = 3600.0  # seconds that a postStart hook may take
_CONFIG_ERROR = "CreateContainerConfigError"


class ContainerStarter:
    """Starts the containers of one pod, each in a task of its own."""

    def __init__(self, managed: ManagedPod, terminator: PodTerminator) -> None:
        self._managed = managed
        self._terminator = terminator
        self._images = ImagePuller(
            managed.node.runtime,
            managed.node.references,
            managed.node.pulled,
            managed.node.pull_records,
        )

    def begin(self, container: Any, attempt: int) -> None:
        """Starts a container unless that was done since it was decided, or its last attempt failed
        too short a time ago."""
        managed = self._managed
        record = managed.records[container.name]
        current = managed.state.containers.get(container.name)
        was_made = current is not None and current.attempt >= attempt
        if record.starting is not None or was_made:
            return
        if record.asked_image not in ("", container.image):
            record.start_failures.reset()  # they were those of another image
        record.asked_image = container.image
        pause = record.start_failures.remaining(managed.node.now())
        if pause > 0:
            managed.wake_after(pause + _AFTER_PAUSE)
            return
        task = managed.tasks.start(self._start(container, attempt), f"start-{container.name}")
        record.starting = task
        task.add_done_callback(lambda _: managed.start_ended(record))

    async def _start(self, container: Any, attempt: int) -> None:
        managed = self._managed
        record = managed.records[container.name]
        container = managed.resources.with_allocated(container)
        managed.node.metrics.pods.start_begun(kind_of(managed.pod, container.name))
        try:
            state = await self._create(container, attempt)
        except RuntimeFault as fault:
            if fault.reason == "RunContainerError" and attempt:
                record.restarts.record_start(managed.node.now())
            self._failed(container, fault)
            return
        except (VolumeError, StatusError, Unreachable, OSError, TimeoutError, ValueError) as error:
            self._failed(container, RuntimeFault(_CONFIG_ERROR, str(error)))
            return
        self._note_start(container, state, record)
        managed.event("Normal", "Created", f"Created container: {container.name}", container.name)
        managed.event("Normal", "Started", f"Started container {container.name}", container.name)
        lifecycle = container.lifecycle
        if lifecycle is not None and lifecycle.post_start is not None:
            await self._run_post_start(container, state)
        if state.state == EXITED:
            managed.resync()

    def _failed(self, container: Any, fault: RuntimeFault) -> None:
        kind = kind_of(self._managed.pod, container.name)
        self._managed.node.metrics.pods.start_failed(kind, fault.reason)
        # The container may have been created, and then its attempt is used up.
        self._managed.resync()
        self._managed.waiting.start_failed(container, fault)

    async def _create(self, container: Any, attempt: int) -> ContainerState:
        """Raises RuntimeFault and what `_start` turns into one."""
        managed = self._managed
        node = self._managed.node
        pod = managed.pod
        request = ImageRequest(pod, container.image, container.image_pull_policy, container.name)
        await self._pull(request)
        paths = await managed.set_up_volumes()
        await self._mount_images(container, paths)
        managed.records[container.name].start_failures.reset()
        await self._check_user(container)
        facts = ContainerFacts(pod, container, managed.pod_ips(), node.addresses, node.allocatable)
        env = await environment(facts, node.references, node.services(), paths)
        edits = await node.devices.edits(pod, container)
        env = {**edits.env, **env}
        plan = ContainerPlan(
            managed.resources.for_runtime(container),
            attempt,
            container.image,
            command=[expand(argument, env) for argument in container.command],
            args=[expand(argument, env) for argument in container.args],
            env=env,
            mounts=edits.mounts + await self._mounts(container, paths, env, attempt),
            target=self._target(container),
            devices=edits.devices + node.volumes.devices(container, paths),
            annotations=edits.annotations,
            cdi=edits.cdi,
            confinement=self._confinement(container.name),
            seccomp=seccomp_of(pod.spec, container, node.seccomp_default, node.seccomp_place),
            users=node.users.taken(pod.metadata.uid),
        )
        sandbox = managed.state.sandbox
        assert sandbox is not None
        await node.isolation.isolate(pod, sandbox.ips)
        async with node.starting.container():
            state = await node.runtime.start_container(pod, sandbox, plan)
        node.placement.note_applied(state.id, plan.confinement.cpus)
        return state

    async def _mounts(
        self, container: Any, paths: dict[str, str], env: dict[str, str], attempt: int
    ) -> list[Mount]:
        """Raises VolumeError and what looking the RuntimeClass up raises."""
        managed = self._managed
        mounts = managed.node.volumes.mounts(managed.pod, container, paths, env, attempt)
        if any(mount.recursion for mount in mounts):
            handler = await handler_of(managed)
            able = managed.node.runtime.abilities.of(handler).recursive_read_only
            for mount in mounts:
                mount.recursive_read_only = is_recursive(mount.recursion, mount.name, able)
        return mounts

    def _confinement(self, name: str) -> Confinement:
        placement = self._managed.node.placement
        uid = self._managed.pod.metadata.uid
        return Confinement(
            placement.cpus(uid, name),
            placement.memory_nodes(uid, name),
            placement.has_own_cpus(uid, name),
        )

    async def _pull(self, request: ImageRequest) -> None:
        """Raises RuntimeFault."""
        managed = self._managed
        seconds = await self._images.ensure(request, managed.event)
        if seconds:
            now = managed.node.now()
            managed.startup.pulled(now - seconds, now)
            with contextlib.suppress(RuntimeFault, TimeoutError):
                size = await managed.node.runtime.image_size(request.image)
                managed.node.metrics.pods.pulled(seconds, size)

    def _note_start(self, container: Any, state: ContainerState, record: ContainerRecord) -> None:
        managed = self._managed
        name = container.name
        record.waiting = None
        managed.resources.set_actual(name, state.id, container.resources)
        is_due = not record.restart_anyway
        record.restart_for_resize = record.is_replaced = False
        before = managed.state.containers.get(name)
        if before is not None and not before.is_of(container.image):
            record.restarts = RestartBackoff()
        if before is not None and before.id != state.id:
            older = managed.state.previous.get(name)
            managed.state.previous[name] = before
            if older is not None:
                managed.tasks.start(self._remove(older), f"remove-{name}")
        managed.state.containers[name] = state
        is_restart = state.attempt > 0 or before is not None
        if is_restart and is_due:
            record.restarts.record_start(managed.node.now())

    async def _mount_images(self, container: Any, paths: dict[str, str]) -> None:
        """Shows the images that the container's volumes are made of."""
        managed = self._managed
        mounted = {mount.name for mount in container.volume_mounts}
        for volume in managed.pod.spec.volumes:
            if volume.image is None or volume.name not in mounted:
                continue
            image = volume.image.reference
            request = ImageRequest(managed.pod, image, volume.image.pull_policy)
            try:
                await self._pull(request)
            except RuntimeFault as fault:
                raise RuntimeFault(fault.reason, str(fault), image) from None
            place = Path(paths[volume.name])
            await managed.node.runtime.mount_image(
                image, managed.pod.metadata.uid, volume.name, place
            )

    def _target(self, container: Any) -> str:
        """Id of the container whose processes this one sees (``kubectl debug --target``)."""
        name = getattr(container, "target_container_name", "")
        if not name:
            return ""
        target = self._managed.state.containers.get(name)
        if target is None:
            raise RuntimeFault(_CONFIG_ERROR, f"unable to find target container {name}")
        return target.id

    async def _check_user(self, container: Any) -> None:
        pod = self._managed.pod
        if not must_not_be_root(pod, container):
            return
        user, user_name = await self._managed.node.runtime.image_user(container.image)
        if violation := non_root_violation(pod, container, user, user_name):
            raise RuntimeFault(_CONFIG_ERROR, violation)

    async def _remove(self, container: ContainerState) -> None:
        """Removes an attempt that `kubectl logs --previous` does not show any more."""
        runtime = self._managed.node.runtime
        with contextlib.suppress(RuntimeFault, TimeoutError):
            await runtime.remove_container(container.id)
        runtime.remove_log(self._managed.identity, container)

    async def _run_post_start(self, container: Any, state: ContainerState) -> None:
        managed = self._managed
        target = Target(container, state.id, managed.address, managed.node.runtime)
        answer = await target.run(container.lifecycle.post_start, _HOOK_TIMEOUT)
        if answer.well:
            return
        text = f"PostStartHook failed: {answer.text}"
        managed.event("Warning", "FailedPostStartHook", text, container.name)
        await self._terminator.stop_container(state, self._terminator.grace_period())
        managed.resync()
