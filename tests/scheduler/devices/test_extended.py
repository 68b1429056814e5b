"""The special claim of a pod that requests extended resources of device classes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import node, pod
from tests.scheduler.device_builders import class_of
from tiphys.api import core_v1
from tiphys.scheduler.devices.extended import ExtendedClaims, SpecialClaim

GPU = "example.com/gpu"
CARD = "deviceclass.resource.kubernetes.io/card"


def container(name: str, count: int, sidecar: bool = False, **more: int) -> dict[str, Any]:
    requests = {GPU: str(count)} if count else {}
    requests |= {key: str(value) for key, value in more.items()}
    made = {"name": name, "image": "i", "resources": {"requests": requests}}
    return {**made, "restartPolicy": "Always"} if sidecar else made


def claims() -> ExtendedClaims:
    known = ExtendedClaims()
    known.classes.put(class_of("gpu", extendedResourceName=GPU))
    known.classes.put(class_of("card"))
    return known


def wanted(user: core_v1.Pod, **allocatable: str) -> SpecialClaim | None:
    there = node("a")
    there.status.allocatable |= allocatable  # type: ignore[arg-type]
    return claims().wanted(user, there)


def asked(special: SpecialClaim) -> dict[str, tuple[str, int]]:
    found = {}
    for request in special.claim.spec.devices.requests:
        assert request.exactly is not None
        found[request.name] = (request.exactly.device_class_name, request.exactly.count)
    return found


def mapped(special: SpecialClaim) -> list[tuple[str, str]]:
    return [(one.container_name, one.request_name) for one in special.mappings]


def test_each_container_has_a_request_for_each_resource() -> None:
    special = wanted(
        pod("p", containers=[container("a", 2, cpu=1, **{CARD: 1}), container("b", 1)])
    )
    assert special is not None
    assert asked(special) == {
        "container-0-request-1": ("card", 1),
        "container-0-request-2": ("gpu", 2),
        "container-1-request-0": ("gpu", 1),
    }
    assert special.mappings[0] == core_v1.ContainerExtendedResourceRequest(
        "a", CARD, "container-0-request-1"
    )
    meta = special.claim.metadata
    assert (meta.generate_name, meta.namespace) == ("p-extended-resources-", "default")
    assert meta.annotations == {"resource.kubernetes.io/extended-resource-claim": "true"}
    [owner] = meta.owner_references
    assert (owner.kind, owner.name, owner.controller) == ("Pod", "p", True)


@pytest.mark.parametrize(
    ("inits", "requests", "mappings"),
    [
        # what lasts is enough for an init container before it
        ([container("i", 2)], {"1": 2, "2": 1}, [("a", "1"), ("b", "2"), ("i", "1")]),
        (
            [container("i", 3)],
            {"1": 2, "2": 1},
            [("a", "1"), ("b", "2"), ("i", "1"), ("i", "2")],
        ),
        # one request for what the neediest of several lacks
        (
            [container("i", 4), container("j", 6), container("k", 0)],
            {"1": 3, "3": 2, "4": 1},
            [("a", "3"), ("b", "4"), ("i", "3"), ("i", "4"), ("j", "3"), ("j", "4")]
            + [("i", "1"), ("j", "1")],
        ),
        # a sidecar's are not for those before which it starts
        (
            [container("s", 1, sidecar=True), container("i", 4)],
            {"0": 1, "1": 1, "2": 2, "3": 1},
            [("s", "0"), ("a", "2"), ("b", "3"), ("i", "2"), ("i", "3"), ("i", "1")],
        ),
    ],
)
def test_init_containers_have_the_devices_of_those_after_them(
    inits: list[dict[str, Any]], requests: dict[str, int], mappings: list[tuple[str, str]]
) -> None:
    user = pod(initContainers=inits, containers=[container("a", 2), container("b", 1)])
    special = wanted(user)
    assert special is not None
    assert {name: count for name, (_, count) in asked(special).items()} == {
        f"container-{place}-request-0": count for place, count in requests.items()
    }
    assert mapped(special) == [(name, f"container-{place}-request-0") for name, place in mappings]


def test_what_a_node_has_itself_is_not_asked_for() -> None:
    user = pod(containers=[container("a", 2, **{CARD: 1})])
    special = wanted(user, **{GPU: "1"})
    assert special is not None and list(asked(special)) == ["container-0-request-0"]
    assert wanted(user, **{GPU: "1", CARD: "1"}) is None
    assert wanted(pod(containers=[container("a", 0, **{"example.com/other": 1})])) is None
