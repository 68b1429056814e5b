"""POST, PUT, PATCH and DELETE: bodies to objects, objects through the registry, entries to answers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from aiohttp import web

from tiphys.api.base import decode, encode, to_builtins
from tiphys.api.catalog import Resource, storage_of
from tiphys.api.meta_v1 import (
    DeleteOptions,
    ObjectMeta,
    PartialObjectMetadata,
    Status,
    StatusDetails,
)
from tiphys.apiserver.access.authorization import Asked, Authorizer, refusal
from tiphys.apiserver.custom.resource import CustomResource
from tiphys.apiserver.eventloop.aside import LARGE, Pure, aside, weigh_body
from tiphys.apiserver.http import respond
from tiphys.apiserver.http.bodies import (
    Strict,
    body,
    configuration,
    input_type,
    media_type,
    patch_problems,
    patched_object,
    plain_body,
    read_object,
)
from tiphys.apiserver.http.bulk import LARGE as LARGE_ANSWER
from tiphys.apiserver.http.bulk import Bulk
from tiphys.apiserver.http.lists import Listing, media_of
from tiphys.apiserver.http.options import check_list, check_write, complete_delete
from tiphys.apiserver.http.request import Call
from tiphys.apiserver.registry.conversion import from_storage, to_storage
from tiphys.apiserver.registry.patches import (
    APPLY,
    PATCHES,
    grows,
    patch_function,
    patched,
    read_patch,
)
from tiphys.apiserver.registry.registry import Lens, Registry
from tiphys.apiserver.registry.views import view_of
from tiphys.apiserver.resources import written_as
from tiphys.apiserver.resources.parts import PARTS, whole
from tiphys.machinery import decoding, errors, gowords, protobuf
from tiphys.machinery.decoding import DecodeError
from tiphys.machinery.query import truth
from tiphys.store.cache import Entry


def manager_of(call: Call) -> str:
    """Who manages what this request writes: as it says itself, or the program's name in its User-Agent."""
    return (
        call.query.get("fieldManager")
        or str(call.http.headers.get("User-Agent", "")).partition("/")[0]
        or "unknown"
    )


class Writer:
    def __init__(self, registry: Registry, authorizer: Authorizer, bulk: Bulk) -> None:
        self._registry = registry
        self._bulk = bulk
        self._authorizer = authorizer

    def _check_create(self, call: Call, resource: Resource) -> None:
        """A write that would create the object needs that right, too. Raises 403."""
        info = call.info
        asked = Asked(
            "create", info.group, info.resource, "", info.namespace, info.name, version=info.version
        )
        if not self._authorizer.authorize(call.user, asked)[0]:
            raise refusal(call.user, asked)

    def _stored(self, resource: Resource, obj: Any) -> Any:
        """The object in the version it is stored in."""
        if resource.is_storage_version:
            return obj
        return decoding.convert(to_storage(resource, to_builtins(obj)), storage_of(resource).type)

    def _read(self, call: Call, data: bytes, resource: Resource) -> Any:
        """The object of a body, in the version it is stored in."""
        return self._stored(resource, read_object(call, data, resource.type, resource))

    async def _answer(
        self, call: Call, resource: Resource, entry: Entry, code: int = 200
    ) -> web.Response:
        converter = self._registry.converter
        shown = converter.shown(resource, entry) or (await converter.present(resource, [entry]))[0]
        return await aside(respond.one, call, resource, shown, code)

    # --- create ---

    async def create(self, call: Call, resource: Resource) -> web.Response:
        data = await body(call)
        check_write(call, "CreateOptions")
        obj = await aside(self._read, call, data, resource)
        entry = await self._registry.create(
            written_as(resource),
            call.info.namespace,
            obj,
            call.user,
            call.dry_run,
            manager_of(call),
        )
        return await self._answer(call, resource, entry, 201)

    # --- update ---

    async def update(self, call: Call, resource: Resource) -> web.Response:
        data = await body(call)
        check_write(call, "UpdateOptions")
        obj = await aside(self._read, call, data, resource)
        check_name(call, resource, obj.metadata)
        change = _fresh(obj, PARTS.get(call.info.subresource, whole))

        def create() -> Any:
            self._check_create(call, resource)
            return copy.deepcopy(obj)

        return await self._change(call, resource, change, None if call.info.subresource else create)

    async def _change(
        self,
        call: Call,
        resource: Resource,
        change: Callable[[Any], Any],
        create: Any = None,
        patching: bool = False,
    ) -> web.Response:
        namespace = "" if not resource.namespaced else call.info.namespace
        entry, created = await self._registry.update(
            written_as(resource),
            namespace,
            call.info.name,
            Pure(change),
            call.user,
            call.dry_run,
            call.info.subresource,
            create,
            patching,
            manager_of(call),
        )
        return await self._answer(call, resource, entry, 201 if created else 200)

    # --- patch ---

    async def patch(self, call: Call, resource: Resource) -> web.Response:
        media = media_type(call)
        offered = [
            m for m in PATCHES if "strategic" not in m or not isinstance(resource, CustomResource)
        ]
        if media == APPLY:
            return await self._apply(call, resource)
        if media not in offered:
            raise errors.unsupported_media_type(
                "the body of the request was in an unknown format - accepted media types include: "
                + ", ".join(offered)
            )
        data = await body(call)
        check_write(call, "PatchOptions")
        wish = await aside(read_patch, media, data)
        if grows(wish):
            weigh_body(LARGE + 1)
        apply = patch_function(media, wish, resource.type)
        pick = PARTS.get(call.info.subresource, whole)
        doubtful = await aside(patch_problems, call, media, data, wish)

        def change(old: Any) -> Any:
            before = to_builtins(old)
            if not resource.is_storage_version:
                before = from_storage(resource, before)
            after = patched(apply, before)
            try:
                new = patched_object(call, resource, after, doubtful)
            except (DecodeError, Strict) as error:
                raise errors.invalid("", "", "", [misfit(media, wish, after, error)]) from None
            check_name(call, resource, new.metadata)
            return pick(self._stored(resource, new), old)

        return await self._change(call, resource, change, patching=True)

    async def _apply(self, call: Call, resource: Resource) -> web.Response:
        data = await body(call)
        check_write(call, "PatchOptions", apply=True)
        config = await aside(configuration, call, resource, data)
        pick = PARTS.get(call.info.subresource, whole)
        entry, created = await self.apply_config(call, resource, config, lambda obj: pick(obj, obj))
        return await self._answer(call, resource, entry, 201 if created else 200)

    async def apply_config(
        self,
        call: Call,
        resource: Resource,
        config: dict[str, Any],
        pick: Callable[[Any], Any],
        lens: Lens | None = None,
    ) -> tuple[Entry, bool]:
        """Applies a configuration; `pick` takes of the merged object what the path may change. Returns the entry and
        whether it was created."""
        manager, stored = call.query["fieldManager"], written_as(resource)

        def typed(merged: dict[str, Any]) -> Any:
            try:
                new = decoding.convert(merged, stored.type)
            except DecodeError as error:
                raise errors.bad_request(str(error)) from None
            return pick(new) if call.info.subresource else new

        namespace = call.info.namespace if resource.namespaced else ""
        return await self._registry.apply(
            stored,
            namespace,
            call.info.name,
            config,
            typed,
            call.user,
            call.dry_run,
            call.info.subresource,
            manager,
            truth(call.query.get("force")),
            lambda: self._check_create(call, resource),
            lens,
        )

    # --- delete ---

    async def delete(self, call: Call, resource: Resource) -> web.Response:
        options = await self._options(call)
        namespace = call.info.namespace if resource.namespaced else ""
        if options.ignore_store_read_error_with_cluster_breaking_potential:
            self._check_unsafe(call, resource)
            await self._registry.delete_corrupt(
                storage_of(resource), namespace, call.info.name, bool(options.dry_run)
            )
            return respond.status(call, Status(status="Success"))
        entry, gone = await self._registry.delete(
            storage_of(resource),
            namespace,
            call.info.name,
            options,
            call.user,
            bool(options.dry_run),
        )
        if gone and resource.plural not in (
            "pods",
            "services",
            "serviceaccounts",
            "persistentvolumeclaims",
            "persistentvolumes",
            "podtemplates",
            "resourcequotas",
            "storageclasses",
            "csidrivers",
            "csinodes",
            "volumeattachments",
        ):
            meta = decode(entry.data, PartialObjectMetadata).metadata
            details = StatusDetails(
                name=call.info.name, group=resource.group, kind=resource.plural, uid=meta.uid
            )
            return respond.status(call, Status(status="Success", details=details))
        return await self._answer(call, resource, entry)

    def _check_unsafe(self, call: Call, resource: Resource) -> None:
        """Who removes what cannot be read needs a right of its own: no finalizer, no admission is asked. Raises 403."""
        info, verb = call.info, "unsafe-delete-ignore-read-errors"
        asked = Asked(
            verb, info.group, info.resource, "", info.namespace, info.name, version=info.version
        )
        allowed, reason = self._authorizer.authorize(call.user, asked)
        if not allowed:
            why = f'not permitted to do "{verb}", reason: {reason}'
            raise errors.forbidden(resource.group_resource, info.name, why)

    async def delete_collection(self, call: Call, resource: Resource) -> web.StreamResponse:
        want = respond.wanted(call, resource)
        check_list(call)
        options = await self._options(call)
        stored = storage_of(resource)
        deleted = await self._registry.delete_collection(
            stored, view_of(call, resource), options, call.user, bool(options.dry_run)
        )
        meta = {"resourceVersion": str(self._registry.store.revision)}
        if isinstance(resource, CustomResource) and not want.shape:
            meta["continue"] = ""
        listing = Listing(
            call,
            resource,
            want,
            self._registry.turns,
            self._registry.converter,
            self._registry.workers,
        )
        body = await listing.body(meta, deleted)
        if body.length <= LARGE_ANSWER:
            return respond.answer(body.whole(), 200, call.warnings, media_of(want))
        response = web.StreamResponse(headers={**respond.HEADERS, "Content-Type": media_of(want)})
        respond.warn_of(response, call.warnings)
        call.seat.release()  # all is deleted, what is left is the client's to take
        return await self._bulk.write(call, response, body)

    async def _options(self, call: Call) -> DeleteOptions:
        data = await body(call)
        options = DeleteOptions()
        if data:
            try:
                media = input_type(call)
                if media == protobuf.MEDIA_TYPE:
                    options = protobuf.decode(protobuf.unwrap(data)[2], DeleteOptions)
                else:
                    value = plain_body(call, data)
                    options = decoding.convert(value, DeleteOptions) if value else options
            except (DecodeError, protobuf.WireError) as error:
                raise errors.bad_request(str(error)) from None
        complete_delete(options, call)
        return options


def check_name(call: Call, resource: Resource, meta: ObjectMeta) -> None:
    info = call.info
    namespace = info.namespace if resource.namespaced else ""
    if meta.namespace and namespace and meta.namespace != namespace:
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    meta.namespace = namespace
    if not meta.name:
        raise errors.bad_request(
            f"the name of the object ({info.name} based on URL) was undeterminable: name must be provided"
        )
    if meta.name != info.name:
        raise errors.bad_request(
            f"the name of the object ({meta.name}) does not match the name on the URL ({info.name})"
        )


def misfit(media: str, wish: Any, after: Any, error: DecodeError | Strict) -> errors.FieldError:
    """What a patch makes is no object of the type. Other patches than strategic ones are told as their result."""
    if "strategic" not in media:
        return errors.invalid_value("patch", gowords.marshalled(after), str(error))
    said = error.restoration if isinstance(error, DecodeError) else str(error)
    return errors.invalid_value("patch", gowords.formatted(wish), said)


def _fresh(obj: Any, pick: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """A change that offers a copy of `obj` each time: the registry may change what it is given."""
    data = encode(obj)
    kind = type(obj)
    return lambda old: pick(decode(data, kind), old)
