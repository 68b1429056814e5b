"""POST, PUT, PATCH and DELETE: from bodies to objects, through the registry, to answers."""

from __future__ import annotations

from functools import partial
from typing import Any

from aiohttp import web

from tiphys.api.base import decode, encode
from tiphys.api.catalog import Resource
from tiphys.api.meta_v1 import DeleteOptions, PartialObjectMetadata, Status, StatusDetails
from tiphys.apiserver.access.asked import Asked, refusal
from tiphys.apiserver.access.authorization import Authorizer
from tiphys.apiserver.eventloop.aside import LARGE, answered, aside, weigh_body
from tiphys.apiserver.http import respond
from tiphys.apiserver.http.bodies import (
    body,
    configuration,
    field_validation,
    input_type,
    media_type,
    patch_problems,
    plain_body,
    read_object,
)
from tiphys.apiserver.http.bulk import LARGE as LARGE_ANSWER
from tiphys.apiserver.http.bulk import Bulk
from tiphys.apiserver.http.lists import Listing, list_meta, media_of
from tiphys.apiserver.http.options import (
    check_list,
    check_write,
    complete_delete,
    delete_options_of,
    read_delete_options,
)
from tiphys.apiserver.http.request import Call
from tiphys.apiserver.registry.changes import Apply, Change, Patched, Replace, whole_object
from tiphys.apiserver.registry.changes import Part as Merge
from tiphys.apiserver.registry.conversion import as_stored
from tiphys.apiserver.registry.metadata import check_identity
from tiphys.apiserver.registry.ownership import Author
from tiphys.apiserver.registry.patches import APPLY, patch_of
from tiphys.apiserver.registry.registry import Registry
from tiphys.apiserver.registry.views import view_of
from tiphys.apiserver.registry.writes import SubresourceView, Write
from tiphys.apiserver.resources.subresources import Part
from tiphys.machinery import errors, protobuf
from tiphys.machinery.decoding import DecodeError
from tiphys.machinery.query import truth
from tiphys.store.cache import Entry

_UNSAFE_DELETE = "unsafe-delete-ignore-read-errors"


def manager_of(call: Call) -> str:
    """Who manages what this request writes: `fieldManager`, or the program's name in its
    User-Agent.
    """
    return (
        call.query.get("fieldManager")
        or str(call.http.headers.get("User-Agent", "")).partition("/")[0]
        or "unknown"
    )


def author_of(call: Call) -> Author:
    """Who applies. `fieldManager` has been checked to be there."""
    force = truth(call.query.get("force"))
    return Author(call.query["fieldManager"], call.info.subresource, force)


class Writer:
    """The writes of one server."""

    def __init__(
        self,
        registry: Registry,
        authorizer: Authorizer,
        bulk: Bulk,
    ) -> None:
        self._registry = registry
        self._bulk = bulk
        self._authorizer = authorizer

    def write_of(
        self, call: Call, resource: Resource, view: SubresourceView | None = None
    ) -> Write:
        """The write that a request asks for."""
        info = call.info
        return Write(
            resource,
            info.namespace if resource.namespaced else "",
            info.name,
            call.user,
            call.dry_run,
            manager_of(call),
            info.subresource,
            view=view,
            verb=info.verb,
            check_create=partial(self._check_create, call, resource),
        )

    def _part(self, call: Call, resource: Resource) -> Merge:
        """(new, old) → what is written through the path."""
        declared = self._registry.strategy_of(resource).subresources.get(call.info.subresource)
        return declared.merge if isinstance(declared, Part) else whole_object

    def _check_create(self, call: Call, resource: Resource) -> None:
        """A write that would create the object needs that right, too. Raises 403."""
        info = call.info
        asked = Asked(
            "create", info.group, info.resource, "", info.namespace, info.name, version=info.version
        )
        if not self._authorizer.authorize(call.user, asked)[0]:
            raise refusal(call.user, asked)

    def _read(self, call: Call, data: bytes, resource: Resource) -> Any:
        """The object of a body, in the version it is stored in."""
        return as_stored(resource, read_object(call, data, resource.type, resource))

    async def _answer(
        self, call: Call, resource: Resource, entry: Entry, code: int = 200
    ) -> web.Response:
        converter = self._registry.converter
        data = converter.shown(resource, entry)
        if data is None:
            [data] = await converter.present(resource, [entry])
        return await aside(respond.object_answer, call, resource, data, code)

    async def _change(self, call: Call, resource: Resource, change: Change) -> web.Response:
        entry, created = await self._registry.update(self.write_of(call, resource), change)
        return await self._answer(call, resource, entry, 201 if created else 200)

    # --- create ---

    async def create(self, call: Call, resource: Resource) -> web.Response:
        data = await body(call)
        check_write(call, "CreateOptions")
        obj = await aside(self._read, call, data, resource)
        entry = await self._registry.create(self.write_of(call, resource), obj)
        return await self._answer(call, resource, entry, 201)

    # --- update ---

    async def update(self, call: Call, resource: Resource) -> web.Response:
        data = await body(call)
        check_write(call, "UpdateOptions")
        obj = await aside(self._read, call, data, resource)
        check_identity(obj.metadata, resource, call.info.namespace, call.info.name)
        part = self._part(call, resource)
        return await self._change(call, resource, Replace(obj, part))

    # --- patch ---

    async def patch(self, call: Call, resource: Resource) -> web.Response:
        media = media_type(call)
        if media == APPLY:
            return await self._apply(call, resource)
        data = await body(call)
        check_write(call, "PatchOptions")
        look_up = partial(self._registry.entry, resource, call.info.namespace, call.info.name)
        patch = await patch_of(media, data, resource.type, look_up)
        if call.record is not None:
            call.record.patched(data)
        if patch.grows:
            weigh_body(LARGE + 1)
        validation = field_validation(call)
        problems = await aside(patch_problems, validation, patch, data)
        part = self._part(call, resource)
        write = self.write_of(call, resource)
        change = Patched(write, patch, part, validation, problems)
        return await self._change(call, resource, change)

    async def _apply(self, call: Call, resource: Resource) -> web.Response:
        data = await body(call)
        check_write(call, "PatchOptions", apply=True)
        config = await aside(configuration, call, resource, data)
        if call.record is not None:
            call.record.patched(data if call.document is None else call.document.json)
        part = self._part(call, resource) if call.info.subresource else None
        write = self.write_of(call, resource)
        change = Apply(write.resource, config, author_of(call), part)
        return await self._change(call, resource, change)

    # --- delete ---

    async def delete(self, call: Call, resource: Resource) -> web.Response:
        options = await self._options(call)
        write = self._deletion(call, resource, options)
        if options.ignore_store_read_error_with_cluster_breaking_potential:
            await answered(self._check_unsafe, call, resource)
            await self._registry.delete_corrupt(write)
            return respond.status(call, Status(status="Success"))
        entry, gone = await self._registry.delete(write, options)
        if gone and not self._registry.strategy_of(resource).returns_deleted:
            meta = decode(entry.data, PartialObjectMetadata).metadata
            details = StatusDetails(
                name=call.info.name, group=resource.group, kind=resource.plural, uid=meta.uid
            )
            return respond.status(call, Status(status="Success", details=details))
        return await self._answer(call, resource, entry)

    @staticmethod
    def _deletion(call: Call, resource: Resource, options: DeleteOptions) -> Write:
        """Of one object, or of a collection's. A dry run is in the options."""
        info = call.info
        namespace = info.namespace if resource.namespaced else ""
        return Write(resource, namespace, info.name, call.user, bool(options.dry_run))

    def _check_unsafe(self, call: Call, resource: Resource) -> None:
        """Who removes what cannot be read needs a right of its own: no finalizer, no admission is
        asked.

        Raises 403.
        """
        info = call.info
        asked = Asked(
            _UNSAFE_DELETE,
            info.group,
            info.resource,
            "",
            info.namespace,
            info.name,
            version=info.version,
        )
        allowed, reason = self._authorizer.authorize(call.user, asked)
        if not allowed:
            message = f'not permitted to do "{_UNSAFE_DELETE}", reason: {reason}'
            raise errors.forbidden(resource.group_resource, info.name, message)

    async def delete_collection(self, call: Call, resource: Resource) -> web.StreamResponse:
        want = respond.wanted(call, resource)
        check_list(call)
        options = await self._options(call)
        write = self._deletion(call, resource, options)
        view = view_of(call, resource, self._registry)
        deleted = await self._registry.delete_collection(write, view, options)
        listing = Listing(call, resource, want, self._registry)
        meta = list_meta(resource, self._registry.store.revision, bool(want.shape))
        answer = await listing.body(meta, deleted)
        if answer.length <= LARGE_ANSWER:
            return respond.answer(answer.joined(), 200, call.warnings, media_of(want))
        response = web.StreamResponse(headers={**respond.HEADERS, "Content-Type": media_of(want)})
        respond.warn_of(response, call.warnings)
        if call.record is not None:
            call.record.lists(answer.length, answer.joined)
        call.seat.release()  # all is deleted, what is left is the client's to take
        return await self._bulk.write(call, response, answer)

    async def _options(self, call: Call) -> DeleteOptions:
        data = await body(call)
        options = delete_options_of(call.query) if not data else DeleteOptions()
        if data:
            try:
                if input_type(call) == protobuf.MEDIA_TYPE:
                    options = protobuf.decode(protobuf.unwrap(data)[2], DeleteOptions)
                else:
                    value = plain_body(call, data)
                    options = read_delete_options(value)
            except (DecodeError, protobuf.WireError) as error:
                raise errors.bad_request(str(error)) from None
            if call.record is not None:
                call.record.patched(encode(options))
        complete_delete(options, call)
        return options
