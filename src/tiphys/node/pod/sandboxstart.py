"""Creating the sandbox of a pod, with its volumes beside it."""

from __future__ import annotations

import asyncio
import contextlib

from tiphys.api import core_v1
from tiphys.node.abilities import IdRange
from tiphys.node.naming import HostNameError, Resolver, host_and_domain, host_in_kernel, resolver_of
from tiphys.node.pod.managedpod import ManagedPod
from tiphys.node.pod.reporting import StatusReporter
from tiphys.node.pod.runtimehandler import handler_of, users_of
from tiphys.node.runtime import RuntimeFault
from tiphys.node.states import SandboxState
from tiphys.node.volumes.volumefiles import VolumeError

UNREPORTED = 0.05  # seconds that a step may take before the pod's status is written meanwhile

# The sandbox and the paths of volumes, or what each of them failed with.
_Created = tuple[SandboxState | BaseException, dict[str, str] | BaseException]


def may_wait(volume: core_v1.Volume) -> bool:
    """Whether a volume may be one of a driver."""
    sources = (volume.csi, volume.persistent_volume_claim, volume.ephemeral)
    return any(source is not None for source in sources)


class SandboxStarter:
    """Makes the sandboxes of one pod."""

    def __init__(self, managed: ManagedPod, reporter: StatusReporter) -> None:
        self._managed = managed
        self._reporter = reporter

    async def start(self) -> None:
        """Creates a sandbox, and stops the one before it. Raises RuntimeFault, VolumeError,
        StatusError, Unreachable, TimeoutError."""
        managed = self._managed
        node = self._managed.node
        pod = managed.pod
        await node.devices.prepare(pod)
        host, domain = host_and_domain(pod, node.dns.domain)
        try:
            kernel_host = host_in_kernel(pod, host, domain)
        except HostNameError as error:
            message = f"Failed to create pod sandbox: {error}"
            raise RuntimeFault("FailedCreatePodSandBox", message) from None
        attempt = 0
        if managed.state.sandbox is not None:
            attempt = managed.state.sandbox.attempt + 1
            await self._stop(managed.state.sandbox)
        sandbox, volumes = await self._create(attempt, kernel_host)
        if isinstance(sandbox, BaseException):
            raise sandbox
        managed.state.sandbox = sandbox
        node.volumes.write_hosts(pod, managed.pod_ips() or node.addresses, host, domain)
        if isinstance(volumes, BaseException):
            raise volumes

    async def _stop(self, sandbox: SandboxState) -> None:
        managed = self._managed
        text = "Pod sandbox changed, it will be killed and re-created."
        managed.event("Normal", "SandboxChanged", text)
        await self._reporter.report()
        with contextlib.suppress(RuntimeFault):
            await managed.node.runtime.stop_sandbox(sandbox.id)

    async def _create(self, attempt: int, hostname: str) -> _Created:
        """Creates the sandbox and the volumes at the same time. Writes the status in the meantime
        if they take long."""
        creating = self._managed.tasks.start(self._create_both(attempt, hostname), "sandbox")
        try:
            done, _ = await asyncio.wait({creating}, timeout=UNREPORTED)
            if not done:
                await self._reporter.report()
            created: _Created = await creating
            return created
        finally:
            creating.cancel()

    async def _create_both(self, attempt: int, hostname: str) -> _Created:
        managed = self._managed
        node = self._managed.node
        resolver = resolver_of(managed.pod, node.dns, node.resolver)
        handler = await handler_of(managed)
        users = await users_of(managed, handler)
        if any(may_wait(volume) for volume in managed.pod.spec.volumes):
            # What drivers do may take minutes: no other pod is kept from starting meanwhile, the
            # driver's own above all. As upstream, there is no sandbox before that.
            try:
                await managed.set_up_volumes()
            except VolumeError as error:
                return error, error
        async with node.starting.sandbox():
            await managed.reserve()
            return await asyncio.gather(
                self._run(attempt, resolver, hostname, handler, users),
                managed.set_up_volumes(),
                return_exceptions=True,
            )

    async def _run(
        self, attempt: int, resolver: Resolver, hostname: str, handler: str, users: IdRange | None
    ) -> SandboxState:
        node, pod = self._managed.node, self._managed.pod
        with node.metrics.pods.sandbox(handler):
            return await node.runtime.run_sandbox(pod, attempt, resolver, hostname, handler, users)
