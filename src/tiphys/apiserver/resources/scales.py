"""The scale of workloads and custom objects: a number of replicas, read and written through a subresource of its own."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from aiohttp import web

from tiphys.api import autoscaling_v1
from tiphys.api.base import encode, to_builtins
from tiphys.api.catalog import Resource
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.apiserver.custom.resource import CustomResource
from tiphys.apiserver.http import respond
from tiphys.apiserver.http.bodies import body, media_type, plain_body, read_object
from tiphys.apiserver.http.options import check_write
from tiphys.apiserver.http.request import Call
from tiphys.apiserver.http.writing import Writer, author_of
from tiphys.apiserver.registry.changes import Apply, Mutation
from tiphys.apiserver.registry.metadata import check_identity
from tiphys.apiserver.registry.patches import APPLY, read_patch
from tiphys.apiserver.registry.registry import Registry
from tiphys.apiserver.registry.writes import SubresourceView
from tiphys.machinery import decoding, errors, gowords
from tiphys.machinery.decoding import DecodeError
from tiphys.machinery.jsonpath import get_field, set_field
from tiphys.machinery.selectors import from_label_selector, from_labels
from tiphys.store.cache import Entry

_SCALES = Resource(
    "autoscaling", "v1", "scales", "Scale"
)  # no resource of its own, but shown like one


def scale_view(resource: Resource) -> SubresourceView:
    def put(obj: Any, scale: autoscaling_v1.Scale) -> None:
        if isinstance(resource, CustomResource):
            assert resource.scale is not None
            set_field(obj.content, resource.scale.replicas, scale.spec.replicas)
        else:
            obj.spec.replicas = scale.spec.replicas

    return SubresourceView("autoscaling/v1/Scale", lambda obj: scale_of(resource, obj), put)


def scale_of(resource: Resource, obj: Any) -> autoscaling_v1.Scale:
    """The Scale of a workload or of a custom object."""
    meta = obj.metadata
    scale = autoscaling_v1.Scale()
    scale.metadata = ObjectMeta(
        name=meta.name,
        namespace=meta.namespace,
        uid=meta.uid,
        resource_version=meta.resource_version,
        creation_timestamp=meta.creation_timestamp,
    )
    if isinstance(resource, CustomResource):
        paths = resource.scale
        assert paths is not None
        wanted = get_field(obj.content, paths.replicas)
        if wanted is None:
            where = "." + ".".join(paths.replicas)
            raise errors.internal(f'the spec replicas field "{where}" does not exist')
        scale.spec.replicas, scale.status.replicas = (
            int(wanted),
            int(get_field(obj.content, paths.observed) or 0),
        )
        scale.status.selector = (
            str(get_field(obj.content, paths.selector) or "") if paths.selector else ""
        )
        return scale
    selector = obj.spec.selector
    scale.spec.replicas = obj.spec.replicas or 0
    scale.status.replicas = obj.status.replicas
    scale.status.selector = str(
        from_labels(selector) if isinstance(selector, dict) else from_label_selector(selector) or ""
    )
    return scale


class Scales:
    """GET, PUT and PATCH of scales; applied ones go the way of applied objects, through the `writer`."""

    def __init__(self, registry: Registry, writer: Writer) -> None:
        self._registry, self._writer = registry, writer

    async def _answer(self, call: Call, resource: Resource, entry: Entry) -> web.Response:
        scale = scale_of(resource, await self._registry.converter.read(resource, entry))
        return respond.one(call, _SCALES, encode(scale))

    async def get(self, call: Call, resource: Resource) -> web.Response:
        entry = self._registry.entry(resource, call.info.namespace, call.info.name)
        return await self._answer(call, resource, entry)

    async def update(self, call: Call, resource: Resource) -> web.Response:
        data = await body(call)
        check_write(call, "UpdateOptions")
        scale = read_object(call, data, autoscaling_v1.Scale, resource)
        check_identity(scale.metadata, resource, call.info.namespace, call.info.name)
        return await self._change(call, resource, lambda old: scale)

    async def patch(self, call: Call, resource: Resource) -> web.Response:
        if media_type(call) == APPLY:
            return await self._apply(call, resource)
        data = await body(call)
        check_write(call, "PatchOptions")
        patch = read_patch(media_type(call), data, autoscaling_v1.Scale)

        def change(old: Any) -> Any:
            after = patch.patched(to_builtins(scale_of(resource, old)))
            try:
                return decoding.convert(after, autoscaling_v1.Scale)
            except DecodeError as error:
                why = errors.invalid_value("patch", gowords.marshalled(after), str(error))
                raise errors.invalid("", "", "", [why]) from None

        return await self._change(call, resource, change)

    async def _apply(self, call: Call, resource: Resource) -> web.Response:
        """An applied Scale is an applied object that says nothing but the number of replicas."""
        data = await body(call)
        check_write(call, "PatchOptions", apply=True)
        try:
            scale = decoding.convert(plain_body(call, data), autoscaling_v1.Scale)
        except DecodeError as error:
            raise errors.bad_request(str(error)) from None
        wanted = scale.spec.replicas
        if wanted < 0:
            why = [
                errors.invalid_value("spec.replicas", wanted, "must be greater than or equal to 0")
            ]
            raise errors.invalid("Scale", "autoscaling", call.info.name, why)
        meta = {"name": call.info.name, "namespace": call.info.namespace}
        config: dict[str, Any] = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": meta,
        }
        path = (
            resource.scale.replicas
            if isinstance(resource, CustomResource) and resource.scale
            else None
        )
        set_field(config, path or ("spec", "replicas"), wanted)
        write = self._writer.write_of(call, resource, scale_view(resource))
        written = await self._registry.update(write, Apply(resource, config, author_of(call)))
        return await self._answer(call, resource, written.entry)

    async def _change(
        self, call: Call, resource: Resource, wanted: Callable[[Any], Any]
    ) -> web.Response:
        def change(old: Any) -> Any:
            scale, new = wanted(old), copy.deepcopy(old)
            if scale.spec.replicas < 0 and not isinstance(
                resource, CustomResource
            ):  # they judge it themselves
                why = [
                    errors.invalid_value(
                        "spec.replicas", scale.spec.replicas, "must be greater than or equal to 0"
                    )
                ]
                raise errors.invalid("Scale", "autoscaling", call.info.name, why)
            if (
                scale.metadata.resource_version
                and scale.metadata.resource_version != old.metadata.resource_version
            ):
                raise errors.conflict(resource.group_resource, call.info.name, errors.MODIFIED)
            view.put(new, scale)
            return new

        view = scale_view(resource)
        write = self._writer.write_of(call, resource, view)
        written = await self._registry.update(write, Mutation(change))
        return await self._answer(call, resource, written.entry)
