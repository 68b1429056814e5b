"""Pods that run on a node although the cluster does not know them: they were deleted while no agent
was there to end them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from tiphys.node.runtime import PodVolumes, Runtime
from tiphys.node.states import PodState

log = logging.getLogger(__name__)


class OrphanCollector:
    """Ends orphaned pods and removes what they left on disk."""

    def __init__(self, runtime: Runtime, volumes: PodVolumes) -> None:
        self._runtime = runtime
        self._volumes = volumes

    async def collect(self, states: Mapping[str, PodState], known: set[str]) -> None:
        """`states` are the pods that no worker has, by uid; `known` the uids of the cluster's pods.
        Raises RuntimeFault, TimeoutError."""
        # Read before any pod that arrives meanwhile has a folder.
        on_disk = self._volumes.pod_uids() - known
        orphans = {uid: state for uid, state in states.items() if uid and uid not in known}
        for state in orphans.values():
            await self._end(state)
        for uid in on_disk | orphans.keys():
            await asyncio.to_thread(self._volumes.tear_down, uid)
            await self._runtime.release_images(uid)
        await self._remove_logs(known)

    async def _end(self, state: PodState) -> None:
        log.info("Orphaned pod %s/%s is removed", state.namespace, state.name)
        for container in state.containers.values():
            await self._runtime.stop_container(container.id, 0)
        for sandbox in state.sandbox_ids():
            await self._runtime.stop_sandbox(sandbox)
            await self._runtime.remove_sandbox(sandbox)

    async def _remove_logs(self, known: set[str]) -> None:
        for uid in await asyncio.to_thread(self._runtime.pods_with_logs) - known:
            try:
                await asyncio.to_thread(self._runtime.remove_logs, uid)
            except OSError as error:
                log.warning("Logs of orphaned pod %s cannot be removed: %s", uid, error)
