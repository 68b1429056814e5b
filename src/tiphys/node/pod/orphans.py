"""Pods that run on a node although the cluster does not know them: they were deleted while no agent
was there to end them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping

from tiphys.node.runtime import PodVolumes, Runtime, RuntimeFault
from tiphys.node.states import PodState
from tiphys.node.volumes.volumefiles import VolumeError

log = logging.getLogger(__name__)


class OrphanCollector:
    """Ends orphaned pods and removes what they left on disk."""

    def __init__(self, runtime: Runtime, volumes: PodVolumes) -> None:
        self._runtime = runtime
        self._volumes = volumes

    async def collect(self, states: Mapping[str, PodState], known: set[str]) -> dict[str, PodState]:
        """`states` are the pods that no worker has, by uid; `known` the uids of the cluster's pods.
        Returns those that could not be ended: they are to be tried again."""
        # Read before any pod that arrives meanwhile has a folder.
        on_disk = self._volumes.pod_uids() - known
        orphans = {uid: state for uid, state in states.items() if uid and uid not in known}
        left = await self.end(orphans)
        await self._clear(on_disk - orphans.keys())
        await self._remove_logs(known | left.keys())
        return left

    async def end(self, orphans: Mapping[str, PodState]) -> dict[str, PodState]:
        """Ends pods and removes what they have. Returns those that could not be ended."""
        left = {uid: state for uid, state in orphans.items() if not await self._end(state)}
        await self._clear(orphans.keys() - left.keys())
        return left

    async def _clear(self, uids: Iterable[str]) -> None:
        """Removes what pods have of which nothing runs."""
        for uid in uids:
            with contextlib.suppress(VolumeError):  # its driver may register later
                await self._volumes.give_back(uid)
            await asyncio.to_thread(self._volumes.tear_down, uid)
            with contextlib.suppress(RuntimeFault, TimeoutError):
                await self._runtime.release_images(uid)

    async def _end(self, state: PodState) -> bool:
        """Whether nothing of it runs any more. One that does not end keeps no other from it."""
        try:
            for container in state.containers.values():
                await self._runtime.stop_container(container, 0)
            for sandbox in state.sandbox_ids():
                await self._runtime.stop_sandbox(sandbox)
                await self._runtime.remove_sandbox(sandbox)
        except (RuntimeFault, TimeoutError) as error:
            log.warning(
                "Orphaned pod %s/%s is not removed yet: %s", state.namespace, state.name, error
            )
            return False
        log.info("Orphaned pod %s/%s is removed", state.namespace, state.name)
        return True

    async def _remove_logs(self, known: set[str]) -> None:
        for uid in await asyncio.to_thread(self._runtime.pods_with_logs) - known:
            try:
                await asyncio.to_thread(self._runtime.remove_logs, uid)
            except OSError as error:
                log.warning("Logs of orphaned pod %s cannot be removed: %s", uid, error)
