"""The workers of a node's pods, and what others want to know of all of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from tiphys.api import core_v1
from tiphys.machinery.finished import pod_finished
from tiphys.node.images.names import ImageNameError, name_on_node
from tiphys.node.pod.managedpod import ManagedPod
from tiphys.node.pod.worker import PodWorker
from tiphys.node.states import PodState


class PodWorkers(Mapping[str, PodWorker]):
    """By the pod's uid.

    abandoned: uids of pods that are being ended without an object
    unclaimed: what an agent before this one left running and no worker has yet, by uid
    """

    def __init__(self) -> None:
        self._by_uid: dict[str, PodWorker] = {}
        self.abandoned: set[str] = set()
        self.unclaimed: dict[str, PodState] = {}

    def __getitem__(self, uid: str) -> PodWorker:
        return self._by_uid[uid]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_uid)

    def __len__(self) -> int:
        return len(self._by_uid)

    def add(self, worker: PodWorker) -> None:
        self._by_uid[worker.pod.metadata.uid] = worker

    def remove(self, worker: PodWorker) -> None:
        """Unless another one has its place."""
        uid = worker.pod.metadata.uid
        if self._by_uid.get(uid) is worker:
            del self._by_uid[uid]

    # --- pods ---

    def managed(self) -> list[ManagedPod]:
        return [worker.managed for worker in self._by_uid.values()]

    def pods(self) -> list[core_v1.Pod]:
        return [worker.pod for worker in self._by_uid.values()]

    def find(self, namespace: str, name: str) -> tuple[core_v1.Pod, PodState] | None:
        for worker in self._by_uid.values():
            meta = worker.pod.metadata
            if (meta.namespace, meta.name) == (namespace, name):
                return worker.pod, worker.state
        return None

    def active(self) -> set[str]:
        """Uids of the pods that have not ended."""
        running = {uid for uid, worker in self._by_uid.items() if not pod_finished(worker.pod)}
        return running | self.abandoned

    def images_in_use(self) -> set[str]:
        """Names, as the runtime has them, of the images that pods name."""
        names = set()
        for worker in self._by_uid.values():
            spec = worker.pod.spec
            images = [container.image for container in (*spec.containers, *spec.init_containers)]
            images += [container.image for container in spec.ephemeral_containers]
            images += [
                volume.image.reference for volume in spec.volumes if volume.image is not None
            ]
            for image in images:
                with contextlib.suppress(ImageNameError):
                    names.add(name_on_node(image))
        return names

    # --- what was seen of them ---

    def wake(self, uids: set[str]) -> None:
        """What the status of these pods says has changed."""
        for uid in uids & self._by_uid.keys():
            self._by_uid[uid].managed.wake()

    def container_changed(self, id: str) -> None:
        for worker in self._by_uid.values():
            if any(container.id == id for container in worker.state.containers.values()):
                worker.managed.resync()

    def resync(self, listed: Mapping[str, PodState]) -> None:
        """The runtime has `listed` these pods: only the workers whose pods changed read them in
        full."""
        for uid, worker in list(self._by_uid.items()):
            if worker.state.differs_from(listed.get(uid)):
                worker.managed.resync()

    # --- metrics: asked for on other threads ---

    def count_running(self) -> int:
        """Pods of which a container runs."""
        return sum(bool(worker.state.running()) for worker in list(self._by_uid.values()))

    def count_pods(self, static: bool) -> int:
        """Those that have not been removed, of the static ones or of the others."""
        workers = list(self._by_uid.values())
        return sum((worker.managed.mirror is not None) == static for worker in workers)

    def count_mirrors(self) -> int:
        """Static pods that the API server shows."""
        mirrors = [worker.managed.mirror for worker in list(self._by_uid.values())]
        return sum(mirror is not None and mirror.object is not None for mirror in mirrors)

    def count_ephemeral(self) -> int:
        """Ephemeral containers that pods have, whether they run or not."""
        workers = list(self._by_uid.values())
        return sum(len(worker.pod.spec.ephemeral_containers) for worker in workers)

    def count_containers(self, state: str) -> int:
        return sum(
            container.state == state
            for worker in list(self._by_uid.values())
            for container in list(worker.state.containers.values())
        )
