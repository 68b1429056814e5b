"""The object that shows a static pod to the cluster. Nothing waits for it: the pod runs the same
while the API server is away, and its object follows later."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable

from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta, OwnerReference
from tiphys.client.client import Client
from tiphys.machinery.errors import StatusError, is_write_overtaken
from tiphys.machinery.podrefs import MIRROR
from tiphys.node.pod.statuswriter import StatusWriter

log = logging.getLogger(__name__)


class MirrorPod:
    """Of the static pods of one name, one after the other.

    pod:    the one to be shown; None where none is
    object: as the API server has it
    """

    def __init__(self, client: Client, changed: Callable[[], None]) -> None:
        """`changed` is called when there is something to write."""
        self._client = client
        self._changed = changed
        self._status: core_v1.PodStatus | None = None
        self._writer = StatusWriter(client)
        self._is_outdated = False
        self.pod: core_v1.Pod | None = None
        self.object: core_v1.Pod | None = None

    # --- what is to be shown ---

    def show(self, pod: core_v1.Pod) -> None:
        """From now on."""
        self.pod = pod
        self._status = None
        self._changed()

    def show_status(self, status: core_v1.PodStatus) -> None:
        self._status = status
        self._changed()

    def withdraw(self) -> None:
        """The pod has ended."""
        self.pod = None
        self._is_outdated = True
        self._changed()

    def observe(self, object: core_v1.Pod) -> None:
        """As an informer has it. What is older than what was written here is not believed."""
        if self.object is not None and _version(object) < _version(self.object):
            return
        self._take(object)
        self._changed()

    def vanished(self, object: core_v1.Pod) -> None:
        """It was deleted."""
        if self.object is not None and self.object.metadata.uid == object.metadata.uid:
            self._take(None)
            self._changed()

    def _take(self, object: core_v1.Pod | None) -> None:
        before = self.object
        self.object = object
        if object is None or before is None or object.metadata.uid != before.metadata.uid:
            self._writer = StatusWriter(self._client)

    @property
    def shows(self) -> bool:
        """Whether the object is that of the pod, and stays."""
        if self.object is None or self.pod is None:
            return False
        meta = self.object.metadata
        is_kept = not meta.deletion_timestamp and not self._is_outdated
        return is_kept and meta.annotations.get(MIRROR) == self.pod.metadata.uid

    # --- writing ---

    async def bring_up_to_date(self, node: core_v1.Node) -> None:
        """Makes the object what it should be. Raises StatusError, Unreachable."""
        if self.object is not None and not self.shows:
            await self._delete(self.object.metadata)
        self._is_outdated = False
        if self.pod is None:
            return
        if self.object is None:
            self._take(await self._client.create(mirror_of(self.pod, node)))
        if self._status is not None and self.object is not None:
            await self._writer.write(self.object, self._status)

    async def _delete(self, meta: ObjectMeta) -> None:
        """At once, for nothing of it runs; what runs is the static pod."""
        try:
            await self._client.delete(core_v1.Pod, meta.name, meta.namespace, grace=0, uid=meta.uid)
        except StatusError as error:
            if not is_write_overtaken(error):
                raise
        self._take(None)


def mirror_of(pod: core_v1.Pod, node: core_v1.Node) -> core_v1.Pod:
    """The object of a static pod: the node's own."""
    own = pod.metadata
    spec = copy.copy(pod.spec)
    spec.priority = None  # admission's to say
    owner = OwnerReference(
        api_version="v1",
        kind="Node",
        name=node.metadata.name,
        uid=node.metadata.uid,
        controller=True,
    )
    meta = ObjectMeta(
        name=own.name,
        namespace=own.namespace,
        labels=own.labels,
        annotations={**own.annotations, MIRROR: own.uid},
        owner_references=[owner],
    )
    return core_v1.Pod(metadata=meta, spec=spec)


def _version(pod: core_v1.Pod) -> int:
    return int(pod.metadata.resource_version)
