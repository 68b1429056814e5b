"""Lists and watches as clients rely on them: pages, versions, bookmarks, tables, compression."""

from __future__ import annotations

import asyncio
import json

import pytest
import yaml

from tests.attack.wire import ask
from tests.builders import config_map
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import MERGE
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

CM = core_v1.ConfigMap


async def test_pages_stay_consistent_while_objects_change(server: LocalCluster) -> None:
    for n in range(5):
        await server.client.create(config_map(f"c{n}"))
    first = await server.client.list(CM, "default", limit=2)
    await server.client.delete(CM, "c3", "default")
    await server.client.create(config_map("c9"))
    second = await server.client.list(CM, "default", limit=2, token=first.token)
    third = await server.client.list(CM, "default", limit=2, token=second.token)
    assert [c.metadata.name for page in (first, second, third) for c in page.items] == [
        "c0",
        "c1",
        "c2",
        "c3",
        "c4",
    ]
    assert third.token == "" and third.revision == first.revision


async def test_a_watch_from_a_version_sees_what_came_after(server: LocalCluster) -> None:
    made = await server.client.create(config_map("a"))
    await server.client.patch(CM, "a", {"data": {"k": "v"}}, "default", media=MERGE)
    await server.client.delete(CM, "a", "default")
    kinds = []
    async for event in server.client.watch(CM, "default", revision=made.metadata.resource_version):
        kinds.append(event.kind)
        if event.kind == "DELETED":
            break
    assert kinds == ["MODIFIED", "DELETED"]


async def test_a_watch_list_ends_its_initial_events_with_a_bookmark(server: LocalCluster) -> None:
    await server.client.create(config_map("a"))
    query = {
        "watch": "1",
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
        "timeoutSeconds": "1",
    }
    lines = (
        await server.client.request("GET", "/api/v1/namespaces/default/configmaps", query=query)
    ).splitlines()
    events = [json.loads(line) for line in lines]
    assert [e["type"] for e in events[:2]] == ["ADDED", "BOOKMARK"]
    assert events[1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


@pytest.mark.parametrize("form", ["application/json", "application/yaml"])
@pytest.mark.parametrize("pretty", ["", "true"])
async def test_items_of_a_list_leave_their_type_to_it(
    server: LocalCluster, form: str, pretty: str
) -> None:
    await server.client.create(config_map("a"))
    await server.client.create(config_map("b"))
    path, query = "/api/v1/namespaces/default/configmaps", {"pretty": pretty}
    listed = await server.client.request("GET", path, query=query, accept=form)
    one = json.loads(await server.client.request("GET", f"{path}/a"))
    assert (one.pop("apiVersion"), one.pop("kind")) == ("v1", "ConfigMap")
    found = yaml.safe_load(listed)  # JSON is YAML
    assert [found["items"][0], found["items"][1]["metadata"]["name"]] == [one, "b"]


async def test_only_the_first_row_of_a_watched_table_brings_columns(server: LocalCluster) -> None:
    await server.client.create(config_map("a"))
    await server.client.create(config_map("b"))
    path, query = "/api/v1/namespaces/default/configmaps", {"watch": "1", "timeoutSeconds": "1"}
    table = "application/json;as=Table;v=v1;g=meta.k8s.io"
    lines = await server.client.request("GET", path, query=query, accept=table)
    first, second = (json.loads(line)["object"] for line in lines.splitlines()[:2])
    assert [column["name"] for column in first["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert second["columnDefinitions"] is None and second["rows"]


async def test_a_version_from_the_future_times_out_with_its_reason(server: LocalCluster) -> None:
    """Asked once: our client would come back ten times, as the answer says that it may."""
    path = "/api/v1/namespaces/default/configmaps?resourceVersion=999999"
    answer = await ask(server.client, "GET", path)
    assert answer.status == 504
    assert answer.json["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


async def test_large_lists_are_compressed_for_those_who_take_it(server: LocalCluster) -> None:
    for n in range(3):
        await server.client.create(config_map(f"c{n}", k="x" * 100_000))
    url = f"{server.url}/api/v1/namespaces/default/configmaps"
    async with server.client._http().get(url, headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert len((await answer.json())["items"]) == 3
    async with server.client._http().get(url, headers={"Accept-Encoding": "identity"}) as answer:
        assert "Content-Encoding" not in answer.headers


async def test_a_large_collection_reaches_a_slow_client_whole(server: LocalCluster) -> None:
    for number in range(24):
        big = config_map(f"big-{number:02}")
        big.data = {"k": "v" * 800_000}
        await server.client.create(big)
    wanted = {f"big-{number:02}" for number in range(24)}
    listed = json.loads(await server.client.request("GET", "/api/v1/namespaces/default/configmaps"))
    assert {item["metadata"]["name"] for item in listed["items"]} >= wanted
    seen: set[str] = set()
    async for event in server.client.watch(core_v1.ConfigMap, "default", revision="0"):
        await asyncio.sleep(0.01)  # a client that reads more slowly than the server writes
        seen.add(event.obj.metadata.name)
        if event.obj.metadata.name == "big-00":
            await server.client.create(config_map("later"))
        if "later" in seen:
            break
    assert seen >= wanted | {"later"}


async def test_a_continue_token_ends_with_its_history_and_the_answer_has_another(
    server: LocalCluster,
) -> None:
    for name in ("a", "b", "c"):
        await server.client.create(config_map(name))
    page = await server.client.list(CM, "default", limit=1)
    await server.client.create(
        core_v1.Secret(metadata=ObjectMeta(name="later", namespace="default"))
    )
    await server.server.store.compact(server.server.store.revision)
    with pytest.raises(StatusError) as expired:
        await server.client.list(CM, "default", limit=1, token=page.token)
    assert expired.value.code == 410
    token = expired.value.status.metadata.continue_
    rest = await server.client.list(CM, "default", limit=1, token=token)
    assert [item.metadata.name for item in rest.items] == ["b"] and rest.revision != page.revision
