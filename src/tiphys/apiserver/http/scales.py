"""The `scale` subresource: a number of replicas, read and written by itself. What it shows is
the slice's `scale`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

from aiohttp import web

from tiphys.api.autoscaling_v1 import Scale
from tiphys.api.base import encode, to_builtins
from tiphys.api.catalog import Resource
from tiphys.apiserver.eventloop.aside import LARGE, aside, weigh_body
from tiphys.apiserver.http import respond
from tiphys.apiserver.http.bodies import body, media_type, plain_body, read_object
from tiphys.apiserver.http.options import check_write
from tiphys.apiserver.http.request import Call
from tiphys.apiserver.http.writing import Writer, author_of
from tiphys.apiserver.registry.changes import Apply, LongMutation
from tiphys.apiserver.registry.metadata import check_identity
from tiphys.apiserver.registry.patches import APPLY, patch_of
from tiphys.apiserver.registry.registry import Registry
from tiphys.apiserver.registry.writes import SubresourceView
from tiphys.apiserver.resources.scaleviews import ScaleView, replica_errors
from tiphys.machinery import decoding, errors, gowords
from tiphys.machinery.decoding import DecodeError
from tiphys.machinery.errors import FieldError
from tiphys.machinery.jsonpath import set_field
from tiphys.store.cache import Entry

# No resource of its own, but shown like one.
_SCALES = Resource("autoscaling", "v1", "scales", "Scale")


class Scales:
    """GET, PUT and PATCH of scales; applied ones go the way of applied objects, through the
    `writer`."""

    def __init__(self, registry: Registry, writer: Writer) -> None:
        self._registry = registry
        self._writer = writer

    def _view(self, resource: Resource) -> ScaleView[Any]:
        view = self._registry.strategy_of(resource).scale
        assert view is not None, f"{resource.group_resource} has a scale path and no scale"
        return view

    async def _answer(self, call: Call, resource: Resource, entry: Entry) -> web.Response:
        obj = await self._registry.converter.read(resource, entry)
        return respond.object_answer(call, _SCALES, encode(self._view(resource).of(obj)))

    async def get(self, call: Call, resource: Resource) -> web.Response:
        entry = self._registry.entry(resource, call.info.namespace, call.info.name)
        return await self._answer(call, resource, entry)

    async def update(self, call: Call, resource: Resource) -> web.Response:
        data = await body(call)
        check_write(call, "UpdateOptions")
        scale = await aside(read_object, call, data, Scale, resource)
        check_identity(scale.metadata, resource, call.info.namespace, call.info.name)
        return await self._change(call, resource, lambda old: scale)

    async def patch(self, call: Call, resource: Resource) -> web.Response:
        media = media_type(call)
        if media == APPLY:
            return await self._apply(call, resource)
        data = await body(call)
        check_write(call, "PatchOptions")
        info = call.info
        look_up = partial(self._registry.entry, resource, info.namespace, info.name)
        patch = await patch_of(media, data, Scale, look_up)
        if patch.grows:
            weigh_body(LARGE + 1)
        view = self._view(resource)

        def wanted(old: Any) -> Scale:
            after = patch.patched(to_builtins(view.of(old)))
            try:
                return decoding.convert(after, Scale)
            except DecodeError as error:
                problem = errors.invalid_value("patch", gowords.marshalled(after), str(error))
                raise errors.invalid("", "", "", [problem]) from None

        return await self._change(call, resource, wanted)

    async def _apply(self, call: Call, resource: Resource) -> web.Response:
        """An applied Scale is an applied object that sets nothing but the number of replicas."""
        data = await body(call)
        check_write(call, "PatchOptions", apply=True)
        try:
            scale = await aside(_configuration, call, data)
        except DecodeError as error:
            raise errors.bad_request(str(error)) from None
        _refuse(call, replica_errors(scale.spec.replicas))
        view = self._view(resource)
        config: dict[str, Any] = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": call.info.name, "namespace": call.info.namespace},
        }
        set_field(config, view.path, scale.spec.replicas)
        write = self._writer.write_of(call, resource, _subresource_view(view))
        written = await self._registry.update(write, Apply(resource, config, author_of(call)))
        return await self._answer(call, resource, written.entry)

    async def _change(
        self, call: Call, resource: Resource, wanted: Callable[[Any], Scale]
    ) -> web.Response:
        """Writes the Scale that `wanted` gives for the current object."""
        view = self._view(resource)

        def change(old: Any) -> Any:
            scale = wanted(old)
            _refuse(call, view.errors(scale))
            version = scale.metadata.resource_version
            if version and version != old.metadata.resource_version:
                raise errors.conflict(resource.group_resource, call.info.name, errors.MODIFIED)
            new = copy.deepcopy(old)
            view.put(new, scale)
            return new

        write = self._writer.write_of(call, resource, _subresource_view(view))
        written = await self._registry.update(write, LongMutation(change))
        return await self._answer(call, resource, written.entry)


def _configuration(call: Call, data: bytes) -> Scale:
    """The Scale of an applied body. Raises DecodeError."""
    scale: Scale = decoding.convert(plain_body(call, data), Scale)
    return scale


def _subresource_view(view: ScaleView[Any]) -> SubresourceView:
    return SubresourceView("autoscaling/v1/Scale", view.of, view.put)


def _refuse(call: Call, problems: list[FieldError]) -> None:
    """Raises 422 if there are any."""
    if problems:
        raise errors.invalid("Scale", "autoscaling", call.info.name, problems)
