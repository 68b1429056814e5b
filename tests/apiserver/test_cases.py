"""Cases from the field: what people bring from elsewhere works as it did there."""

from __future__ import annotations

from typing import Any

from tests.apiserver.test_custom import call, refused
from tests.cases import defined
from tiphys.testing import LocalCluster


def harbour(kind: str, name: str, **content: Any) -> dict[str, Any]:
    return {"apiVersion": "harbour.example.com/v1", "kind": kind, "metadata": {"name": name}, **content}


async def test_a_root_may_ask_for_what_every_object_has(server: LocalCluster) -> None:
    path = await defined(server, "root")
    made = await call(server, "POST", path, harbour("Buoy", "b-one", spec={"size": 1}))
    made["spec"]["size"] = 2
    assert (await call(server, "PUT", f"{path}/b-one", made))["spec"] == {"size": 2}
    made = await call(server, "PATCH", f"{path}/b-one/status", {"status": {"x": 1}}, "application/merge-patch+json")
    assert made["status"] == {"x": 1}
    assert "spec: Required value" in str(await refused(call(server, "POST", path, harbour("Buoy", "b-two"))))


async def test_a_schema_may_bound_the_name(server: LocalCluster) -> None:
    path = await defined(server, "root")
    long = str(await refused(call(server, "POST", path, harbour("Buoy", "b-12345678901", spec={}))))
    assert "metadata.name: Too long: may not be more than 10 bytes" in long
    other = str(await refused(call(server, "POST", path, harbour("Buoy", "one", spec={}))))
    assert "metadata.name: Invalid value: \"one\": metadata.name in body should match '^b-'" in other


async def test_a_root_counts_the_fields_of_the_whole_object(server: LocalCluster) -> None:
    path = await defined(server, "counted")
    await call(server, "POST", path, harbour("Float", "one", spec={}))
    assert "should have at least 4 properties" in str(await refused(call(server, "POST", path, harbour("Float", "two"))))


async def test_rules_see_the_name_whatever_the_schema_says(server: LocalCluster) -> None:
    path = await defined(server, "counted")
    await call(server, "POST", path, harbour("Float", "one", spec={}))
    assert "a label" in str(await refused(call(server, "POST", path, harbour("Float", "1", spec={}))))


async def test_asking_for_presence_is_not_dear(server: LocalCluster) -> None:
    path = await defined(server, "presence")
    both = {"members": [{"type": "A", "selector": {"a": {}, "b": {}}}]}
    assert "only one" in str(await refused(call(server, "POST", path, harbour("Quay", "q", spec=both))))
