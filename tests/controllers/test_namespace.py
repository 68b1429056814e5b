"""What the deletion of a namespace waits for."""

from __future__ import annotations

from collections import Counter

import pytest
import pytest_asyncio

from tests.builders import config_map, pod
from tests.controllers.bench import Bench
from tiphys.api.base import encode
from tiphys.api.core_v1 import ConfigMap, Namespace
from tiphys.controllers.namespace import NamespaceController, Remains, deletion_conditions

NOTHING = {
    "NamespaceDeletionDiscoveryFailure": "ResourcesDiscovered",
    "NamespaceDeletionGroupVersionParsingFailure": "ParsedGroupVersions",
    "NamespaceDeletionContentFailure": "ContentDeleted",
    "NamespaceContentRemaining": "ContentRemoved",
    "NamespaceFinalizersRemaining": "ContentHasNoFinalizers",
}


@pytest.mark.parametrize(
    ("remains", "kind", "reason", "message", "wait"),
    [
        (
            Remains(stale=["example.com/v1"]),
            "NamespaceDeletionDiscoveryFailure",
            "DiscoveryFailed",
            "Discovery failed for some groups, 1 failing: example.com/v1",
            3.0,
        ),
        (
            Remains(failures=["no", "never"]),
            "NamespaceDeletionContentFailure",
            "ContentDeletionFailed",
            "Failed to delete all resource types, 2 remaining: no; never",
            3.0,
        ),
        (
            Remains(objects={"pods": 2, "configmaps": 1}),
            "NamespaceContentRemaining",
            "SomeResourcesRemain",
            "Some resources are remaining: configmaps has 1 resource instances, "
            "pods has 2 resource instances",
            0.3,
        ),
        (
            Remains(finalizers=Counter(["x", "x"])),
            "NamespaceFinalizersRemaining",
            "SomeFinalizersRemain",
            "Some content in the namespace has finalizers remaining: x in 2 resource instances",
            None,
        ),
    ],
)
def test_each_thing_that_is_waited_for_has_its_condition(
    remains: Remains, kind: str, reason: str, message: str, wait: float | None
) -> None:
    found = {condition.type: condition for condition in deletion_conditions(remains)}
    assert (found[kind].status, found[kind].message) == ("True", message)
    reasons = {each.type: each.reason for each in found.values()}
    assert reasons == NOTHING | {kind: reason} and remains.wait == wait
    assert [each.type for each in found.values() if each.status == "True"] == [kind]


def test_when_nothing_is_left_nothing_is_waited_for() -> None:
    assert Remains().wait is None
    found = deletion_conditions(Remains())
    assert {each.type: each.reason for each in found} == NOTHING
    assert all(each.status == "False" for each in found)


# --- step by step ---

together = pytest.mark.asyncio(loop_scope="package")


@pytest_asyncio.fixture(loop_scope="package")
async def namespaces(bench: Bench) -> NamespaceController:
    return bench.start(NamespaceController)


async def step(bench: Bench, namespaces: NamespaceController) -> float | None:
    await bench.seen()
    return await namespaces.reconcile(bench.namespace)


async def space(bench: Bench) -> Namespace | None:
    return await bench.get(Namespace, bench.namespace)


async def told(bench: Bench) -> dict[str, str]:
    """The conditions that are true, and their reasons."""
    found = await space(bench)
    assert found is not None and found.status.phase == "Terminating"
    return {each.type: each.reason for each in found.status.conditions if each.status == "True"}


@together
async def test_pods_go_first_then_the_rest_then_the_namespace(
    bench: Bench, namespaces: NamespaceController
) -> None:
    one = await bench.add(pod("a", nodeName="n"))
    await bench.add(config_map("c"))
    assert await step(bench, namespaces) is None and await space(bench) is not None
    await bench.client.delete(Namespace, bench.namespace)
    assert bench.namespace in await bench.queued(namespaces)
    assert await step(bench, namespaces) == 0.3
    assert await bench.get(ConfigMap, "c") is not None, "a pod is still there"
    assert await told(bench) == {"NamespaceContentRemaining": "SomeResourcesRemain"}
    await bench.remove(one, grace=0)
    assert await step(bench, namespaces) is None
    assert await space(bench) is None
    assert await step(bench, namespaces) is None


@together
async def test_what_finalizers_hold_is_told(bench: Bench, namespaces: NamespaceController) -> None:
    held = config_map("c")
    held.metadata.finalizers = ["a.b/c"]
    standing = await bench.add(held)
    await bench.client.delete(Namespace, bench.namespace)
    assert await step(bench, namespaces) == 0.3
    assert await told(bench) == {
        "NamespaceContentRemaining": "SomeResourcesRemain",
        "NamespaceFinalizersRemaining": "SomeFinalizersRemain",
    }
    before = await space(bench)
    assert await step(bench, namespaces) == 0.3
    assert await space(bench) == before, "it is told once"
    await bench.change(standing, metadata={"finalizers": None})
    assert await step(bench, namespaces) is None and await space(bench) is None


@together
async def test_a_namespace_that_others_hold_is_left_to_them(
    bench: Bench, namespaces: NamespaceController
) -> None:
    found = await space(bench)
    assert found is not None
    found.spec.finalizers = ["kubernetes", "example.com/other"]
    path = f"/api/v1/namespaces/{bench.namespace}/finalize"
    await bench.client.request("PUT", path, encode(found))
    await bench.client.delete(Namespace, bench.namespace)
    assert await step(bench, namespaces) is None
    found = await space(bench)
    assert found is not None and found.spec.finalizers == ["example.com/other"]
    await bench.change(found, metadata={"labels": {"a": "b"}})
    assert await step(bench, namespaces) is None, "nothing is left to do"


@together
async def test_who_is_not_deleted_does_not_lead_here(
    bench: Bench, namespaces: NamespaceController
) -> None:
    found = await space(bench)
    await bench.queued(namespaces)
    await bench.change(found, metadata={"labels": {"a": "b"}})
    assert await bench.queued(namespaces) == []
