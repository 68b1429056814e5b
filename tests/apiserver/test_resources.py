"""The conformance kit over every stored resource, against a real server over TLS."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.apiserver.kit import INVALID, KEPT_BY_THE_SERVER, NAMES, body_of
from tiphys.api.catalog import RESOURCES, Resource
from tiphys.client.client import MERGE, STRATEGIC
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
STORED = [
    r
    for r in RESOURCES
    if r.stored and r.is_storage_version and r.group_resource not in KEPT_BY_THE_SERVER
]
BY_NAME = {r.group_resource: r for r in STORED}


async def call(
    server: LocalCluster, method: str, path: str, body: Any = None, **kwargs: Any
) -> Any:
    data = await server.client.request(
        method, path, json.dumps(body).encode() if body is not None else None, **kwargs
    )
    return json.loads(data)


async def _exists(server: LocalCluster, namespace: str = "default") -> None:
    from tiphys.api import core_v1
    from tiphys.api.meta_v1 import ObjectMeta

    await server.client.create(
        core_v1.ServiceAccount(metadata=ObjectMeta(name="default", namespace=namespace))
    )


async def test_every_resource_lives_through_all_verbs(server: LocalCluster) -> None:
    await _exists(server)
    for resource in STORED:
        await _live(server, resource)


async def _live(server: LocalCluster, resource: Resource) -> None:
    name = NAMES.get(resource.group_resource, "kit")
    space = "default" if resource.namespaced else ""
    items, one = resource.path(space), resource.path(space, name)
    what = resource.group_resource
    made = await call(server, "POST", items, body_of(resource, name))
    assert made["metadata"]["uid"] and made["metadata"]["resourceVersion"], what
    with pytest.raises(StatusError) as twice:
        await call(server, "POST", items, body_of(resource, name))
    assert twice.value.reason == "AlreadyExists", what
    got = await call(server, "GET", one)
    assert got == made, what
    again = await call(server, "PUT", one, got)
    assert again["metadata"]["resourceVersion"] == got["metadata"]["resourceVersion"], (
        f"{what}: defaulting is not idempotent"
    )
    for media in (MERGE, STRATEGIC):
        got = await call(
            server, "PATCH", one, {"metadata": {"labels": {"m": media[12:17]}}}, content=media
        )
        assert got["metadata"]["labels"]["m"] == media[12:17], what
    stale = {**made, "metadata": {**made["metadata"], "labels": {"x": "y"}}}
    with pytest.raises(StatusError) as conflict:
        await call(server, "PUT", one, stale)
    assert conflict.value.reason == "Conflict", what
    listed = await call(server, "GET", items, query={"labelSelector": "m=strat"})
    assert [i["metadata"]["name"] for i in listed["items"]] == [name], what
    assert listed["kind"] == resource.kind + "List", what
    assert not any({"kind", "apiVersion"} & set(item) for item in listed["items"]), what
    table = await call(server, "GET", items, accept=TABLE)
    assert table["kind"] == "Table" and all(
        len(r["cells"]) == len(table["columnDefinitions"]) for r in table["rows"]
    ), what
    dry = await call(
        server,
        "PATCH",
        one,
        {"metadata": {"labels": {"dry": "run"}}},
        content=MERGE,
        query={"dryRun": "All"},
    )
    assert dry["metadata"]["labels"]["dry"] == "run", what
    assert "dry" not in (await call(server, "GET", one))["metadata"]["labels"], what
    if got["metadata"].get("finalizers"):  # nobody here takes them off
        got = await call(server, "PATCH", one, {"metadata": {"finalizers": None}}, content=MERGE)
    options = {"preconditions": {"uid": got["metadata"]["uid"]}, "propagationPolicy": "Background"}
    await call(server, "DELETE", one, options)
    if resource.plural != "namespaces":
        with pytest.raises(StatusError) as gone:
            await call(server, "GET", one)
        assert gone.value.code == 404, what


@pytest.mark.parametrize(
    ("name", "parts", "field"), INVALID, ids=[f"{n}-{f}" for n, _, f in INVALID]
)
async def test_invalid_objects_name_the_field(
    server: LocalCluster, name: str, parts: dict[str, Any], field: str
) -> None:
    await _exists(server)
    resource = BY_NAME[name]
    with pytest.raises(StatusError) as refused:
        await call(server, "POST", resource.path("default"), body_of(resource, "bad") | parts)
    status = refused.value.status
    assert (status.code, status.reason) == (422, "Invalid")
    assert field in [cause.field for cause in status.details.causes]  # type: ignore[union-attr]
    assert status.message.startswith(
        f'{resource.kind}{"." + resource.group if resource.group else ""} "bad" is invalid: '
    )
