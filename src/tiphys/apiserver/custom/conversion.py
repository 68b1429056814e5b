"""Custom objects between the versions of their definition: by name alone, or by a webhook.

Objects that an older definition wrote are pruned and defaulted when they are read.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from tiphys.api.apiextensions_v1 import WebhookConversion
from tiphys.api.base import encode, to_builtins
from tiphys.apiserver.eventloop.aside import aside
from tiphys.apiserver.proxying.webhooks import WebhookError
from tiphys.apiserver.registry.conversion import Caller
from tiphys.machinery import errors, structural
from tiphys.machinery.structural import Schema, numbers
from tiphys.store.cache import Entry

_SECONDS = 30.0
_KEPT = ("name", "namespace", "uid")  # what a webhook may not touch


_KEPT_FORMS = 8  # of one object, beside its stored bytes


class ServedVersion(Protocol):
    """A version of a definition, as far as its conversion needs it (`resource.CustomResource`)."""

    @property
    def kind(self) -> str: ...

    @property
    def since(self) -> int: ...

    @property
    def api_version(self) -> str: ...

    @property
    def stored_api_version(self) -> str: ...

    @property
    def head(self) -> bytes: ...

    @property
    def schema(self) -> Schema: ...

    @property
    def webhook(self) -> WebhookConversion | None: ...

    def schema_of(self, api_version: str) -> Schema | None: ...


class CustomConversion:
    """How the objects of one version of a definition are stored, and how they are shown."""

    def __init__(self, resource: ServedVersion) -> None:
        self._resource = resource

    def shown(self, entry: Entry) -> bytes | None:
        """An object's bytes as this version shows them; None when a webhook must be asked first."""
        resource = self._resource
        in_this_version = entry.data.startswith(resource.head)
        current = entry.revision >= resource.since or not entry.revision
        if in_this_version and current:
            return entry.data
        data = entry.shown.get(resource) if entry.shown else None
        if data is None and (resource.webhook is None or in_this_version):
            plain = self._stored(entry)
            plain["apiVersion"] = resource.api_version
            data = self._finished(entry, plain)
        return data

    async def present(self, entries: Sequence[Entry], caller: Caller) -> None:
        """Asks the webhook once for all that `shown` cannot convert itself: then it can."""
        plain = [self._stored(entry) for entry in entries]
        converted = await convert(self._resource, plain, self._resource.api_version, caller)
        for entry, obj in zip(entries, converted, strict=True):
            self._finished(entry, obj)

    async def stored(self, obj: Any, caller: Caller) -> bytes:
        """The bytes to store of an object of this version."""
        resource = self._resource
        if resource.stored_api_version == resource.api_version:
            return await aside(numbers.encoded, obj, encode)
        plain = to_builtins(obj)
        [converted] = await convert(resource, [plain], resource.stored_api_version, caller)
        self._fit(converted)
        return numbers.encoded(converted, msgspec.json.encode)

    async def converted(self, plain: Any, caller: Caller) -> Any:
        [converted] = await convert(self._resource, [plain], self._resource.api_version, caller)
        return converted

    def _stored(self, entry: Entry) -> dict[str, Any]:
        """A stored object with what the version it is stored in has come to prune and default.

        So upstream reads it: the defaults of that version are seen at every version.
        """
        plain: dict[str, Any] = msgspec.json.decode(entry.data)
        self._fit(plain)
        return plain

    def _fit(self, plain: dict[str, Any]) -> None:
        """Prunes and defaults, in place, an object of any version by that version's schema."""
        schema = self._resource.schema_of(plain["apiVersion"])
        if schema is not None:
            structural.prune(plain, schema, root=True)
            structural.apply_defaults(plain, schema)

    def _finished(self, entry: Entry, plain: dict[str, Any]) -> bytes:
        """Pruned by this version's schema, and cached beside the stored bytes."""
        structural.prune(plain, self._resource.schema, root=True)
        data = numbers.encoded(plain, msgspec.json.encode)
        if entry.shown is None or len(entry.shown) > _KEPT_FORMS:
            entry.shown = {}
        entry.shown[self._resource] = data
        return data


async def convert(
    resource: ServedVersion, objects: list[dict[str, Any]], wanted: str, caller: Caller
) -> list[dict[str, Any]]:
    """The objects, plain, in the apiVersion `wanted`. Raises StatusError when the webhook fails."""
    foreign = [obj for obj in objects if obj.get("apiVersion") != wanted]
    if not foreign:
        return objects
    if resource.webhook is None:
        return [{**obj, "apiVersion": wanted} for obj in objects]
    answers = iter(await _ask(resource, foreign, wanted, caller))
    return [obj if obj.get("apiVersion") == wanted else next(answers) for obj in objects]


async def _ask(
    resource: ServedVersion, objects: list[dict[str, Any]], wanted: str, caller: Caller
) -> list[dict[str, Any]]:
    webhook = resource.webhook
    assert webhook is not None
    version = next((v for v in webhook.conversion_review_versions if v in ("v1", "v1beta1")), "v1")
    review = {
        "kind": "ConversionReview",
        "apiVersion": f"apiextensions.k8s.io/{version}",
        "request": {"uid": str(uuid.uuid4()), "desiredAPIVersion": wanted, "objects": objects},
    }
    where = f"conversion webhook for {objects[0].get('apiVersion')}, Kind={resource.kind} failed: "
    try:
        answer = (await caller.call(webhook.client_config, review, _SECONDS)).get("response") or {}
    except WebhookError as error:
        raise errors.internal(where + str(error)) from None
    result = answer.get("result") or {}
    if result.get("status") != "Success":
        raise errors.internal(where + str(result.get("message") or "unknown reason"))
    converted = answer.get("convertedObjects") or []
    if len(converted) != len(objects):
        raise errors.internal(
            f"{where}webhook returned {len(converted)} objects, expected {len(objects)}"
        )
    return [_checked(old, new, wanted, where) for old, new in zip(objects, converted, strict=True)]


def _checked(old: dict[str, Any], new: Any, wanted: str, where: str) -> dict[str, Any]:
    if (
        not isinstance(new, dict)
        or new.get("apiVersion") != wanted
        or new.get("kind") != old.get("kind")
    ):
        raise errors.internal(f"{where}webhook returned an object that is not of {wanted}")
    before = old.get("metadata") or {}
    after = dict(new.get("metadata") or {})
    for key in _KEPT:
        if before.get(key) != after.get(key):
            raise errors.internal(f"{where}webhook changed metadata.{key}")
    # Only labels and annotations may change; the rest of the metadata is as it was, the version
    # first.
    kept = {**before, **{key: after[key] for key in ("labels", "annotations") if key in after}}
    for key in ("labels", "annotations"):
        if key not in after:
            kept.pop(key, None)
    content = {
        key: value for key, value in new.items() if key not in ("apiVersion", "kind", "metadata")
    }
    return {"apiVersion": wanted, "kind": new["kind"], "metadata": kept, **content}
