"""Starts and ends static pods as their files come, change and go, and has their mirrors kept."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tiphys.api import core_v1
from tiphys.client.client import Client, Unreachable
from tiphys.machinery import timestamps
from tiphys.machinery.errors import StatusError
from tiphys.machinery.finished import pod_finished
from tiphys.node.pod.mirrorpod import MirrorPod
from tiphys.node.pod.worker import PodWorker
from tiphys.node.staticpods.folder import ManifestFolder

log = logging.getLogger(__name__)

_LOOK = 1.0  # seconds between scans of the files
_RETRY = 5.0  # seconds after which what the API server refused is tried again

Key = tuple[str, str]  # (namespace, name)


@dataclass
class _Run:
    """A pod that was started, and who does it. One that the node rejected has ended without its
    file being gone: it is tried again when that changes."""

    pod: core_v1.Pod
    worker: PodWorker
    has_ended: bool = False


class StaticPods:
    """
    folder: where the files are; None for a node that has none, and still removes the mirrors of
            those that it had
    node:   gives the node's object
    start:  starts a pod's worker
    """

    def __init__(
        self,
        folder: ManifestFolder | None,
        client: Client,
        node: Callable[[], core_v1.Node],
        start: Callable[[core_v1.Pod, MirrorPod], PodWorker],
    ) -> None:
        self._folder = folder
        self._client = client
        self._node = node
        self._start = start
        self._wanted: dict[Key, core_v1.Pod] = {}
        self._runs: dict[Key, _Run] = {}
        self._mirrors: dict[Key, MirrorPod] = {}
        self._changed = asyncio.Event()

    @property
    def uids(self) -> set[str]:
        return {pod.metadata.uid for pod in self._wanted.values()}

    # --- files ---

    async def look(self) -> None:
        """Reads the files that have changed."""
        if self._folder is None:
            return
        pods = await asyncio.to_thread(self._folder.look)
        if pods is not None:
            self.want(pods)

    def want(self, pods: Iterable[core_v1.Pod]) -> None:
        """Of two pods of one name the first runs."""
        wanted: dict[Key, core_v1.Pod] = {}
        for pod in pods:
            wanted.setdefault(_key(pod), pod)
        self._wanted = wanted
        for key, run in list(self._runs.items()):
            if wanted.get(key) is not run.pod:
                self._end(key, run)
        for key in wanted.keys() - self._runs.keys():
            self._begin(key)

    def _begin(self, key: Key) -> None:
        pod = self._wanted[key]
        mirror = self._mirror(key)
        before = mirror.object
        mirror.show(pod)
        # An agent before this one started it. One that was evicted is restarted (upstream).
        if mirror.shows and before is not None and not pod_finished(before):
            pod.status = before.status
        self._runs[key] = _Run(pod, self._start(pod, mirror))

    def _end(self, key: Key, run: _Run) -> None:
        """The next pod of the name starts when this one has ended."""
        if run.has_ended:
            self._note_end(key)
            return
        dying = copy.copy(run.worker.pod)
        dying.metadata = copy.copy(dying.metadata)
        dying.metadata.deletion_timestamp = timestamps.rfc3339(time.time())
        run.worker.update(dying)

    def worker_ended(self, worker: PodWorker) -> None:
        key = _key(worker.pod)
        run = self._runs.get(key)
        if run is None or run.worker is not worker:
            return
        run.has_ended = True
        if self._wanted.get(key) is not run.pod:
            self._note_end(key)

    def _note_end(self, key: Key) -> None:
        del self._runs[key]
        self._mirror(key).withdraw()
        if key in self._wanted:
            self._begin(key)

    # --- mirrors ---

    def mirror_changed(self, old: core_v1.Pod | None, new: core_v1.Pod | None) -> None:
        """For an informer of the node's pods."""
        if new is not None:
            self._mirror(_key(new)).observe(new)
        elif old is not None:
            self._mirror(_key(old)).vanished(old)

    def _mirror(self, key: Key) -> MirrorPod:
        if key not in self._mirrors:
            self._mirrors[key] = MirrorPod(self._client, self._changed.set)
        return self._mirrors[key]

    async def run(self) -> None:
        """Until cancelled. The files must have been read once."""
        while True:
            self._changed.clear()
            is_done = await self._bring_up_to_date()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if is_done else _RETRY):
                    await self._changed.wait()

    async def watch(self) -> None:
        """Until cancelled."""
        while self._folder is not None:
            await asyncio.sleep(_LOOK)
            await self.look()

    async def _bring_up_to_date(self) -> bool:
        """Whether all mirrors are as they should be."""
        is_done = True
        for key, mirror in list(self._mirrors.items()):
            try:
                await mirror.bring_up_to_date(self._node())
            except (StatusError, Unreachable, TimeoutError) as error:
                log.info("The mirror of static pod %s/%s is not written: %s", *key, error)
                is_done = False
            if mirror.pod is None and mirror.object is None:
                del self._mirrors[key]
        return is_done


def _key(pod: core_v1.Pod) -> Key:
    return pod.metadata.namespace, pod.metadata.name
