"""What may refer to what, and who came first."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.gateway.reports import grant, http_route
from tiphys.addons.gateway.snapshot import Objects, oldest_first
from tiphys.addons.gateway.types.policies import ReferenceGrant

ROUTE = http_route("elsewhere")

GRANTS: list[tuple[str, list[ReferenceGrant], bool]] = [
    ("none", [], False),
    ("for every service", [grant("Service")], True),
    ("for this service", [grant("Service", name="shop")], True),
    ("for another service", [grant("Service", name="news")], False),
    ("for another kind", [grant("Secret")], False),
    ("for another kind of this name", [grant("Secret", name="shop")], False),
    ("for routes of another kind", [grant("Service", of="TCPRoute")], False),
    ("of another namespace", [grant("Service", to="third")], False),
    ("one of several", [grant("Secret"), grant("Service")], True),
    ("parts of two", [grant("Service", of="TCPRoute"), grant("Secret")], False),
]


@pytest.mark.parametrize(("case", "grants", "permitted"), GRANTS, ids=[row[0] for row in GRANTS])
def test_another_namespace_has_to_grant_it(
    case: str, grants: list[ReferenceGrant], permitted: bool
) -> None:
    """The documentation of ReferenceGrant: from and to must both be of one grant, in the namespace
    of what is referred to."""
    objects = Objects(grants=grants)
    assert objects.permits(ROUTE, "", "Service", "default", "shop") is permitted


def test_the_source_of_a_grant_is_a_namespace_and_a_group() -> None:
    other_group, other_namespace = grant("Service"), grant("Service")
    other_group.spec.from_[0].group = "other.example"
    other_namespace.spec.from_[0].namespace = "third"
    for one in (other_group, other_namespace):
        assert not Objects(grants=[one]).permits(ROUTE, "", "Service", "default", "shop")


def test_the_own_namespace_needs_no_grant() -> None:
    assert Objects().permits(ROUTE, "", "Service", "elsewhere", "shop")
    assert not Objects().permits(ROUTE, "", "Service", "default", "shop")


def test_of_the_same_second_the_first_by_namespace_and_name_came_first() -> None:
    def created(namespace: str, name: str, second: int) -> Any:
        one = http_route(namespace)
        one.metadata.name = name
        one.metadata.creation_timestamp = f"2026-01-01T00:00:0{second}Z"
        return one

    listed = [
        created("b", "a", 1),
        created("a", "b", 1),
        created("a", "a", 1),
        created("z", "z", 0),
    ]
    found = [f"{one.metadata.namespace}/{one.metadata.name}" for one in oldest_first(listed)]
    assert found == ["z/z", "a/a", "a/b", "b/a"]
