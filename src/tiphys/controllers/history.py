"""Controller revisions: the templates a stateful or daemon set has had, numbered, so that it can go
back to one."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from tiphys.api.apps_v1 import ControllerRevision
from tiphys.api.base import decode, encode, to_builtins
from tiphys.api.core_v1 import PodTemplateSpec
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import Client
from tiphys.client.informer import Informer
from tiphys.controllers.pods import owner_reference
from tiphys.machinery.errors import StatusError, is_already_exists, is_not_found
from tiphys.machinery.names import safe_encode

HASH_LABEL = "controller.kubernetes.io/hash"
REVISION_LABEL = "controller-revision-hash"
_LIMIT = 10  # revisions that are kept when the owner does not say


def data_of(owner: Any) -> dict[str, Any]:
    """What a revision keeps: a patch that puts the template back. Its fields are in the order of
    their names: kubectl and client-go compare it byte by byte with what they make of a template."""
    template = {**to_builtins(owner.spec.template), "$patch": "replace"}
    return {"spec": {"template": _sorted(decode(encode(template), Any))}}


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return value


def template_of(revision: ControllerRevision) -> PodTemplateSpec:
    """The template that a revision keeps."""
    template = dict(revision.data["spec"]["template"])
    template.pop("$patch", None)
    return decode(encode(template), PodTemplateSpec)


def new_revision(owner: Any, number: int, collisions: int, label: str) -> ControllerRevision:
    """The revision of the owner's template as it is now; `label` is the one that holds its hash.
    `collisions` goes into the hash, so that another name is tried when one is taken."""
    data = data_of(owner)
    digest = hashlib.sha256(encode(data) + str(collisions or "").encode()).digest()
    name = safe_encode(str(int.from_bytes(digest[:4], "big")))
    meta = ObjectMeta(
        name=f"{owner.metadata.name}-{name}",
        namespace=owner.metadata.namespace,
        labels={**owner.spec.template.metadata.labels, label: name},
        annotations=dict(owner.metadata.annotations),
        owner_references=[owner_reference(owner)],
    )
    return ControllerRevision(metadata=meta, data=data, revision=number)


class Current(NamedTuple):
    """The revision of an owner's template as it is now, and how often names have collided so
    far."""

    revision: ControllerRevision
    collisions: int


class History:
    """The revisions of the owners of one kind.

    `revisions` is indexed by `shell.owner_index` under ``owner``; `label` is the one that holds the
    hash: `HASH_LABEL` for stateful sets, `REVISION_LABEL` for daemon sets.
    """

    def __init__(self, client: Client, revisions: Informer[ControllerRevision], label: str) -> None:
        self._client = client
        self._label = label
        self._revisions = revisions
        self._written: dict[str, ControllerRevision] = {}  # what the informer may not show yet

    def of(self, owner: Any) -> list[ControllerRevision]:
        """The owner's revisions, the oldest first."""
        uid = owner.metadata.uid
        known = {revision.metadata.name: revision for revision in self._revisions.by("owner", uid)}
        written = self._written.get(uid)
        if written is not None and written.metadata.name in known:
            del self._written[uid]
        elif written is not None:
            known[written.metadata.name] = written
        return sorted(
            known.values(), key=lambda revision: (revision.revision, revision.metadata.name)
        )

    async def current(self, owner: Any) -> Current:
        """The owner's current revision; it is created if need be. An older template that is wanted
        again becomes the newest."""
        known = self.of(owner)
        collisions = owner.status.collision_count or 0
        wanted = data_of(owner)
        number = known[-1].revision + 1 if known else 1
        same = [revision for revision in known if revision.data == wanted]
        if not same:
            return await self._create(owner, number, collisions)
        latest = same[-1]
        if latest is not known[-1]:
            meta = latest.metadata
            change = {"revision": number}
            latest = await self._client.patch(ControllerRevision, meta.name, change, meta.namespace)
            self._written[owner.metadata.uid] = latest
        return Current(latest, collisions)

    async def _create(self, owner: Any, number: int, collisions: int) -> Current:
        while True:
            wanted = new_revision(owner, number, collisions, self._label)
            try:
                created = await self._client.create(wanted)
            except StatusError as error:
                if not is_already_exists(error):
                    raise
            else:
                self._written[owner.metadata.uid] = created
                return Current(created, collisions)
            meta = wanted.metadata
            standing = await self._client.get(ControllerRevision, meta.name, meta.namespace)
            if standing.data == wanted.data:
                return Current(standing, collisions)
            collisions += 1

    async def truncate(self, owner: Any, live: set[str]) -> None:
        """Deletes the oldest revisions beyond the owner's limit; those in `live` (by name) stay."""
        limit = owner.spec.revision_history_limit
        kept = _LIMIT if limit is None else limit
        idle = [revision for revision in self.of(owner) if revision.metadata.name not in live]
        for revision in idle[: max(0, len(idle) - kept)]:
            meta = revision.metadata
            try:
                await self._client.delete(ControllerRevision, meta.name, meta.namespace)
            except StatusError as error:
                if not is_not_found(error):
                    raise
