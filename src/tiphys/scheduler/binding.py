"""The binding cycle: pre-bind and bind, and unreserve when one of them fails. It runs in a task for
each pod.

Pre-bind writes what must be bound before the pod is: volumes of claims that wait for their first
consumer, and devices.
"""

from __future__ import annotations

import asyncio
import logging

from tiphys.api import core_v1
from tiphys.api.catalog import resource_of
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import MERGE, Client, Unreachable
from tiphys.machinery import volumes
from tiphys.machinery.errors import StatusError, is_not_found
from tiphys.scheduler.active_profile import ActiveProfiles
from tiphys.scheduler.cluster_events import ClusterEvent, EventKind
from tiphys.scheduler.devices.binder import DeviceBinder
from tiphys.scheduler.devices.tracker import DeviceTracker
from tiphys.scheduler.extenders.extender import ExtenderError
from tiphys.scheduler.plugins.dynamic_resources import DynamicResources
from tiphys.scheduler.plugins.volume_binding import VolumeBinding
from tiphys.scheduler.plugins.volume_lister import VolumeLister
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.reporting import FailureReason, Reporter
from tiphys.scheduler.state import SchedulerState

log = logging.getLogger(__name__)

_VOLUME_TIMEOUT = 600.0  # seconds; upstream's bindTimeoutSeconds of VolumeBinding
_PODS = resource_of(core_v1.Pod)


class BindingError(Exception):
    """The pod was not bound. The text names the plugin, as upstream's does."""

    def __init__(self, plugin: str, cause: Exception) -> None:
        super().__init__(f"running {plugin}: {cause}")
        self.is_gone = is_not_found(cause)


class ProvisioningError(Exception):
    """A claim's volume cannot be had on the chosen node."""


def _check_still_selected(
    claim: core_v1.PersistentVolumeClaim,
    written: core_v1.PersistentVolumeClaim | None,
    node_name: str,
) -> None:
    """A provisioner that fails takes the node out of the claim, so that another one is chosen.
    `written` is the claim with the node in it: one older than that does not know it yet. Raises
    ProvisioningError."""
    meta = claim.metadata
    if written is None or int(meta.resource_version) < int(written.metadata.resource_version):
        return
    if meta.annotations.get(volumes.SELECTED_NODE) != node_name:
        raise ProvisioningError(f'binding volumes: provisioning failed for PVC "{meta.name}"')


class Binder:
    def __init__(
        self,
        client: Client,
        state: SchedulerState,
        profiles: ActiveProfiles,
        volume_lister: VolumeLister,
        devices: DeviceTracker,
        device_binder: DeviceBinder,
        reporter: Reporter,
    ) -> None:
        self._client = client
        self._queue = state.queue
        self._cache = state.cache
        self._nominator = state.nominator
        self._profiles = profiles
        self._volume_lister = volume_lister
        self._devices = devices
        self._device_binder = device_binder
        self._reporter = reporter
        self._storage_changed = asyncio.Event()

    def storage_changed(self) -> None:
        """Event handlers call this: a claim that a pod waits for may be bound now."""
        self._storage_changed.set()

    async def run(self, pod: PodInfo, node_name: str) -> bool:
        """The binding cycle of an assumed pod. Returns whether it is bound."""
        try:
            await self._pre_bind(pod, node_name)
            await self._bind(pod, node_name)
        except BindingError as error:
            await self._unreserve(pod)
            self._handle_error(pod, node_name, error)
            return False
        self._nominator.withdraw(pod.uid)
        self._devices.extended.forget(pod.pod)
        self._reporter.scheduled(pod, node_name)
        return True

    # --- pre-bind ---

    async def _pre_bind(self, pod: PodInfo, node_name: str) -> None:
        """Raises BindingError."""
        plugin = f'PreBind plugin "{VolumeBinding.name}"'
        try:
            unbound = self._unbound_claims(pod)
            needs_devices = self._needs_devices(pod)
            if unbound or needs_devices:
                # It will take a while: others, such as autoscalers, see where the pod will be.
                await self._reporter.nominate(pod.pod, node_name)
            if unbound:
                await self._bind_volumes(pod, node_name)
            if needs_devices:
                plugin = f'PreBind plugin "{DynamicResources.name}"'
                await self._device_binder.bind(
                    pod, lambda: self._reporter.devices_pending(pod, node_name)
                )
        except (ProvisioningError, StatusError, Unreachable) as error:
            raise BindingError(plugin, error) from None

    def _needs_devices(self, pod: PodInfo) -> bool:
        is_special = self._devices.extended.reserved(pod.pod) is not None
        return is_special or bool(pod.spec.resource_claims)

    def _unbound_claims(self, pod: PodInfo) -> list[core_v1.PersistentVolumeClaim]:
        return self._volume_lister.unbound_claims_of(pod.pod) if pod.spec.volumes else []

    async def _bind_volumes(self, pod: PodInfo, node_name: str) -> None:
        """Writes to the claims on which node their volumes are needed, and waits until they are
        bound. Raises ProvisioningError, StatusError, Unreachable."""
        patch = {"metadata": {"annotations": {volumes.SELECTED_NODE: node_name}}}
        written = {}
        for claim in self._unbound_claims(pod):
            meta = claim.metadata
            written[meta.name] = await self._client.patch(
                core_v1.PersistentVolumeClaim, meta.name, patch, meta.namespace, media=MERGE
            )
        try:
            async with asyncio.timeout(_VOLUME_TIMEOUT):
                while unbound := self._unbound_claims(pod):
                    for claim in unbound:
                        _check_still_selected(claim, written.get(claim.metadata.name), node_name)
                    self._storage_changed.clear()
                    await self._storage_changed.wait()
        except TimeoutError:
            raise Unreachable(f"the volumes of {pod.key} were not bound in time") from None

    # --- bind ---

    async def _bind(self, pod: PodInfo, node_name: str) -> None:
        """Raises BindingError."""
        extender = self._profiles[pod.spec.scheduler_name].extenders.binder_for(pod.pod)
        try:
            if extender is not None:
                await extender.bind(pod.pod, node_name)
            else:
                await self._post_binding(pod, node_name)
        except (StatusError, Unreachable, ExtenderError) as error:
            raise BindingError('Bind plugin "DefaultBinder"', error) from None

    async def _post_binding(self, pod: PodInfo, node_name: str) -> None:
        meta = pod.pod.metadata
        binding = core_v1.Binding(
            metadata=ObjectMeta(name=meta.name, namespace=meta.namespace, uid=meta.uid),
            target=core_v1.ObjectReference(api_version="v1", kind="Node", name=node_name),
        )
        await self._client.post(_PODS, meta.namespace, meta.name, "binding", binding)

    # --- failure ---

    async def _unreserve(self, pod: PodInfo) -> None:
        """What was reserved for the pod is free."""
        self._cache.forget(pod.uid)
        self._nominator.withdraw(pod.uid)
        try:
            await self._device_binder.unreserve(pod)
        except (StatusError, Unreachable) as error:
            log.warning("Pod %s: its claim was not deleted: %s", pod.key, error)

    def _handle_error(self, pod: PodInfo, node_name: str, error: BindingError) -> None:
        if not error.is_gone:
            log.warning("Pod %s was not bound to node %s: %s", pod.key, node_name, error)
            self._queue.add_backoff(pod)
            self._reporter.failed(pod, FailureReason.SCHEDULER_ERROR, str(error))
        # To other pods it is as if the pod had left the node.
        self._queue.move_on(ClusterEvent(EventKind.POD_DELETED, pod=pod))
