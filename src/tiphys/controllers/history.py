"""Controller revisions: the templates a stateful or daemon set had, numbered, so that it can go back to one."""

from __future__ import annotations

import hashlib
from typing import Any

from tiphys.api.apps_v1 import ControllerRevision
from tiphys.api.base import decode, encode, to_builtins
from tiphys.api.core_v1 import PodTemplateSpec
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import Client
from tiphys.client.informer import Informer
from tiphys.controllers.pods import owner_reference
from tiphys.machinery.errors import StatusError
from tiphys.machinery.names import safe_encode

HASH_LABEL = "controller.kubernetes.io/hash"
REVISION_LABEL = "controller-revision-hash"


def data_of(owner: Any) -> dict[str, Any]:
    """What a revision keeps: a patch that puts the template back, in the order of its names (clients compare it byte by
    byte with what they make of the template themselves)."""
    template = {**to_builtins(owner.spec.template), "$patch": "replace"}
    return {"spec": {"template": _sorted(decode(encode(template), Any))}}


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def template_of(revision: ControllerRevision) -> PodTemplateSpec:
    """The template that a revision keeps."""
    plain = {k: v for k, v in revision.data["spec"]["template"].items() if k != "$patch"}
    return decode(encode(plain), PodTemplateSpec)


def new_revision(owner: Any, number: int, collisions: int, label: str) -> ControllerRevision:
    """The revision of the owner's template as it is now; `label` is the one that tells its hash."""
    data = data_of(owner)
    digest = hashlib.sha256(encode(data) + str(collisions or "").encode()).digest()
    name = safe_encode(str(int.from_bytes(digest[:4], "big")))
    labels = {**owner.spec.template.metadata.labels, label: name}
    meta = ObjectMeta(
        name=f"{owner.metadata.name}-{name}",
        namespace=owner.metadata.namespace,
        labels=labels,
        annotations=dict(owner.metadata.annotations),
        owner_references=[owner_reference(owner)],
    )
    return ControllerRevision(metadata=meta, data=data, revision=number)


class History:
    """The revisions of the owners of one kind; `label` is the one that tells a revision's hash."""

    def __init__(self, client: Client, revisions: Informer[ControllerRevision], label: str) -> None:
        self._client, self._label = client, label
        self._revisions = revisions
        self._made: dict[str, ControllerRevision] = {}  # what the informer may not show yet

    def of(self, owner: Any) -> list[ControllerRevision]:
        """The owner's revisions, oldest first."""
        found = {r.metadata.name: r for r in self._revisions.by("owner", owner.metadata.uid)}
        made = self._made.get(owner.metadata.uid)
        if made is not None and made.metadata.name in found:
            del self._made[owner.metadata.uid]
        elif made is not None:
            found[made.metadata.name] = made
        return sorted(found.values(), key=lambda r: (r.revision, r.metadata.name))

    async def current(self, owner: Any) -> tuple[ControllerRevision, int]:
        """(the revision of the owner's template as it is now, the count of name collisions so far)."""
        known, collisions = self.of(owner), owner.status.collision_count or 0
        wanted = data_of(owner)
        same = [r for r in known if r.data == wanted]
        number = known[-1].revision + 1 if known else 1
        if same:
            latest = same[-1]
            if latest is not known[-1]:  # an older template is wanted again: it becomes the newest
                change = {"revision": number}
                latest = await self._client.patch(
                    ControllerRevision, latest.metadata.name, change, latest.metadata.namespace
                )
                self._made[owner.metadata.uid] = latest
            return latest, collisions
        while True:
            wish = new_revision(owner, number, collisions, self._label)
            try:
                made = await self._client.create(wish)
            except StatusError as error:
                if error.reason != "AlreadyExists":
                    raise
                standing = await self._client.get(
                    ControllerRevision, wish.metadata.name, wish.metadata.namespace
                )
                if standing.data == wanted:
                    return standing, collisions
                collisions += 1
                continue
            self._made[owner.metadata.uid] = made
            return made, collisions

    async def truncate(self, owner: Any, live: set[str]) -> None:
        """Deletes the oldest revisions beyond the limit; those in `live` (by name) stay."""
        limit = owner.spec.revision_history_limit
        idle = [r for r in self.of(owner) if r.metadata.name not in live]
        for revision in idle[: max(0, len(idle) - (10 if limit is None else limit))]:
            try:
                await self._client.delete(
                    ControllerRevision, revision.metadata.name, revision.metadata.namespace
                )
            except StatusError as error:
                if error.code != 404:
                    raise
