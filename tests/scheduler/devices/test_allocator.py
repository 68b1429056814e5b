"""Which devices a node gives: rules one by one, and a search that finds a solution whenever there
is one."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import node
from tests.scheduler.device_builders import DRIVER, ask, claim, class_of, device, slice_of
from tiphys.api import resource_v1 as v1
from tiphys.scheduler.devices.requests import AllocationError
from tiphys.scheduler.devices.tracker import DeviceTracker

ATTRIBUTE = f'device.attributes["{DRIVER}"]'
CAPACITY = f'device.capacity["{DRIVER}"]'


class Cluster:
    """One node, `a`, in zone `x`, and one class, `gpu`, of every device."""

    def __init__(self, *slices: v1.ResourceSlice, **kinds: v1.DeviceClass) -> None:
        self.kinds = {"gpu": class_of(), **kinds}
        self.claims: dict[str, v1.ResourceClaim] = {}
        self.devices = DeviceTracker(self.claims.get, self.kinds.get)
        self.node = node("a")
        self.node.metadata.labels["zone"] = "x"
        for one in slices:
            self.devices.inventory.put(one)

    def give(self, *claims: v1.ResourceClaim) -> list[list[tuple[str, str]]] | None:
        """(request, device) pairs of each claim; the claims have them afterwards."""
        found = self.devices.allocate(claims, self.node)
        if found is None:
            return None
        for one, allocation in zip(claims, found, strict=True):
            one.status.allocation = allocation
            self.devices.put_claim(one)
        return [[(r.request, r.device) for r in allocation.devices.results] for allocation in found]

    def takes(self, *requests: dict[str, Any], **devices: Any) -> list[str] | None:
        """The devices of a new claim."""
        name = f"c{len(self.claims)}"
        self.claims[f"default/{name}"] = made = claim(name, *requests, **devices)
        found = self.give(made)
        return None if found is None else [device for _, device in found[0]]


def test_a_device_is_given_once_and_comes_back() -> None:
    cluster = Cluster(slice_of("a", device("d0"), device("d1")))
    first = claim("first", ask())
    assert cluster.give(first) == [[("r", "d0")]]
    assert cluster.takes(ask()) == ["d1"]
    assert cluster.takes(ask()) is None
    first.status.allocation = None
    cluster.devices.put_claim(first)
    assert cluster.takes(ask()) == ["d0"]


def test_several_claims_share_no_device() -> None:
    cluster = Cluster(slice_of("a", device("d0"), device("d1"), device("d2")))
    one, two = claim("one", ask(count=2)), claim("two", ask(count=2))
    assert cluster.give(one, two) is None
    assert cluster.give(claim("one", ask(count=2)), claim("three", ask())) == [
        [("r", "d0"), ("r", "d1")],
        [("r", "d2")],
    ]


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        (f'device.driver == "{DRIVER}"', "small"),
        (f'{ATTRIBUTE}.model == "big"', "big"),
        (f"{CAPACITY}.memory.compareTo(quantity('40Gi')) >= 0", "big"),
        (f'{ATTRIBUTE}.version.isGreaterThan(semver("1.5.0"))', "big"),
        (
            '"other.example.com" in device.attributes && device.attributes["other.example.com"].x == 1',
            "big",
        ),
        (f'cel.bind(a, {ATTRIBUTE}, a.model == "big" && !a.broken)', "big"),
        (f'{ATTRIBUTE}.links.includes("l2")', "big"),
        ("device.allowMultipleAllocations", None),
        ('has(device.attributes["nobody.example.com"].x)', None),
    ],
)
def test_selectors_choose(expression: str, chosen: str | None) -> None:
    common = {"broken": False}
    small = {
        **common,
        "model": "small",
        "version": {"version": "1.2.3"},
        "links": {"strings": ["l1"]},
    }
    big = {
        **common,
        "model": "big",
        "version": {"version": "1.10.0"},
        "links": {"strings": ["l1", "l2"]},
        "other.example.com/x": 1,
    }
    cluster = Cluster(
        slice_of(
            "a",
            device("small", attributes=small, capacity={"memory": "10Gi"}),
            device("big", attributes=big, capacity={"memory": "40Gi"}),
        )
    )
    assert cluster.takes(ask("r", expression)) == ([chosen] if chosen else None)


def test_a_selector_that_fails_is_told() -> None:
    cluster = Cluster(slice_of("a", device("d0")))
    with pytest.raises(
        AllocationError,
        match="claim default/c0: selector #0: CEL runtime error: no such key: model",
    ):
        cluster.takes(ask("r", f'{ATTRIBUTE}.model == "x"'))


def test_classes_select_and_configure() -> None:
    parameters = {"opaque": {"driver": DRIVER, "parameters": {"mode": "fast"}}}
    cluster = Cluster(
        slice_of("a", device("d0", attributes={"n": 0}), device("d1", attributes={"n": 1})),
        gpu=class_of("gpu", f"{ATTRIBUTE}.n == 1", config=[parameters]),
    )
    made = claim(
        "c", ask("r"), config=[{"requests": ["r"], **parameters}, {"requests": [], **parameters}]
    )
    assert cluster.give(made) == [[("r", "d1")]]
    assert made.status.allocation is not None
    told = [(one.source, one.requests) for one in made.status.allocation.devices.config]
    assert told == [("FromClass", ["r"]), ("FromClaim", ["r"]), ("FromClaim", [])]


def test_all_means_all() -> None:
    cluster = Cluster(
        slice_of("a", device("d0", attributes={"n": 0}), device("d1", attributes={"n": 1}))
    )
    assert cluster.takes(ask("r", f"{ATTRIBUTE}.n > 1", allocationMode="All")) is None
    assert cluster.takes(ask("r", f"{ATTRIBUTE}.n > 0", allocationMode="All")) == ["d1"]
    assert cluster.takes(ask("r", allocationMode="All")) is None  # one is taken
    assert cluster.takes(ask("r", f"{ATTRIBUTE}.n < 1", allocationMode="All")) == ["d0"]


def test_a_pool_that_is_being_changed_waits() -> None:
    def renewed(name: str, device_name: str) -> v1.ResourceSlice:
        made = slice_of("a", device(device_name), name=name)
        made.spec.pool = v1.ResourcePool(name="a", generation=2, resource_slice_count=2)
        return made

    cluster = Cluster(slice_of("a", device("old")), renewed("s1", "n0"))
    assert cluster.takes(ask()) is None
    waits = "claim default/c1, request r: asks for all devices, but resource pool gpu.example.com/a is currently being updated"
    with pytest.raises(AllocationError, match=waits):
        cluster.takes(ask("r", allocationMode="All"))
    cluster.devices.inventory.put(renewed("s2", "n1"))
    assert cluster.takes(ask("r", allocationMode="All")) == ["n0", "n1"]


def test_constraints_tie_devices_together() -> None:
    cluster = Cluster(
        slice_of(
            "a",
            *(device(f"d{n}", attributes={"numa": n % 2, f"{DRIVER}/board": n}) for n in range(4)),
        )
    )
    same = [{"requests": ["x", "y"], "matchAttribute": f"{DRIVER}/numa"}]
    assert cluster.takes(ask("x"), ask("y"), constraints=same) == ["d0", "d2"]
    assert cluster.takes(ask("x"), constraints=[{"matchAttribute": f"{DRIVER}/nothing"}]) is None
    other = [{"distinctAttribute": f"{DRIVER}/numa"}]
    assert cluster.takes(ask("r", count=2), constraints=other) is None
    assert cluster.takes(
        ask("r", count=2), constraints=[{"distinctAttribute": f"{DRIVER}/board"}]
    ) == ["d1", "d3"]


def test_lists_match_by_what_they_have_in_common() -> None:
    groups = (["a", "b"], ["b", "c"], ["c", "d"])
    cluster = Cluster(
        slice_of(
            "a", *(device(f"d{n}", attributes={"g": {"strings": g}}) for n, g in enumerate(groups))
        )
    )
    rule = [{"matchAttribute": f"{DRIVER}/g"}]
    assert cluster.takes(ask("r", count=3), constraints=rule) is None
    assert cluster.takes(ask("r", count=2), constraints=rule) == ["d0", "d1"]


def test_the_first_alternative_that_is_there() -> None:
    cluster = Cluster(slice_of("a", device("d0", attributes={"n": 0})))
    first = {
        "name": "big",
        "deviceClassName": "gpu",
        "selectors": [{"cel": {"expression": f"{ATTRIBUTE}.n == 9"}}],
    }
    second = {"name": "small", "deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1}
    assert cluster.give(claim("c", {"name": "r", "firstAvailable": [first, second]})) == [
        [("r/small", "d0")]
    ]


def test_administrators_take_nothing_away() -> None:
    cluster = Cluster(slice_of("a", device("d0")))
    assert cluster.takes(ask()) == ["d0"]
    assert cluster.takes(ask(adminAccess=True)) == ["d0"]
    assert cluster.takes(ask("r", allocationMode="All", adminAccess=True)) == ["d0"]
    assert cluster.takes(ask()) is None


def test_taints_need_tolerations() -> None:
    taints = [
        {"key": "bad", "value": "yes", "effect": "NoSchedule"},
        {"key": "told", "effect": "None"},
    ]
    cluster = Cluster(slice_of("a", device("d0", taints=taints)))
    assert cluster.takes(ask()) is None
    assert (
        cluster.takes(ask(tolerations=[{"key": "bad", "operator": "Equal", "value": "no"}])) is None
    )
    assert cluster.takes(ask(tolerations=[{"key": "bad", "operator": "Exists"}])) == ["d0"]


def test_shares_of_a_device() -> None:
    memory = {
        "value": "10Gi",
        "requestPolicy": {"default": "1Gi", "validRange": {"min": "1Gi", "step": "1Gi"}},
    }
    cluster = Cluster(
        slice_of("a", device("d0", capacity={"memory": memory}, allowMultipleAllocations=True))
    )
    first, second = claim("c", ask(capacity={"requests": {"memory": "2500Mi"}})), claim("d", ask())
    assert cluster.give(first, second) == [[("r", "d0")], [("r", "d0")]]
    results = [
        one.status.allocation.devices.results[0] for one in (first, second) if one.status.allocation
    ]
    assert [dict(r.consumed_capacity) for r in results] == [{"memory": "3Gi"}, {"memory": "1Gi"}]
    assert len({r.share_id for r in results} - {None}) == 2
    assert cluster.takes(ask(capacity={"requests": {"memory": "7Gi"}})) is None
    assert cluster.takes(ask(capacity={"requests": {"memory": "6Gi"}})) == ["d0"]
    assert cluster.takes(ask()) is None


def test_capacity_of_a_whole_device() -> None:
    cluster = Cluster(
        slice_of(
            "a", device("d0", capacity={"memory": "4Gi"}), device("d1", capacity={"memory": "8Gi"})
        )
    )
    assert cluster.takes(ask(capacity={"requests": {"memory": "6Gi"}})) == ["d1"]
    assert cluster.takes(ask(capacity={"requests": {"cores": "1"}})) is None


def test_partitions_share_counters() -> None:
    def part(name: str, size: str) -> dict[str, Any]:
        return device(
            name, consumesCounters=[{"counterSet": "card", "counters": {"memory": {"value": size}}}]
        )

    shared = [{"name": "card", "counters": {"memory": {"value": "40Gi"}}}]
    parts = (part("whole", "40Gi"), part("half0", "20Gi"), part("half1", "20Gi"))
    cluster = Cluster(slice_of("a", *parts, sharedCounters=shared))
    assert cluster.takes(ask("r", count=2)) == ["half0", "half1"]
    assert cluster.takes(ask()) is None


def test_devices_that_several_nodes_reach() -> None:
    zone = {
        "nodeSelectorTerms": [
            {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["x"]}]}
        ]
    }
    far = {
        "nodeSelectorTerms": [
            {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["y"]}]}
        ]
    }
    cluster = Cluster(
        slice_of("", device("far"), pool="p0", nodeSelector=far),
        slice_of("", device("near"), pool="p1", nodeSelector=zone),
        slice_of("", device("any"), pool="p2", allNodes=True),
        slice_of(
            "",
            device("mine", nodeName="a"),
            device("theirs", nodeName="b"),
            pool="p3",
            perDeviceNodeSelection=True,
        ),
    )
    selectors = []
    for expected in ("near", "any", "mine"):
        made = claim(expected, ask())
        assert cluster.give(made) == [[("r", expected)]]
        assert made.status.allocation is not None
        selectors.append(made.status.allocation.node_selector)
    assert cluster.takes(ask()) is None
    near, everywhere, mine = selectors
    assert near is not None and near.node_selector_terms[0].match_expressions[0].values == ["x"]
    assert everywhere is None
    assert mine is not None and mine.node_selector_terms[0].match_fields[0].values == ["a"]


def test_a_search_without_end_is_given_up() -> None:
    cluster = Cluster(slice_of("a", *(device(f"d{n:02}", attributes={"n": n}) for n in range(60))))
    assert (
        cluster.takes(ask("r", count=20), constraints=[{"matchAttribute": f"{DRIVER}/n"}]) is None
    )
    requests = (ask(f"r{n}", count=9) for n in range(3))
    assert cluster.takes(*requests, ask("last", "false")) is None


# --- against a search that tries everything ---

_DEVICES = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 1), st.booleans()), min_size=1, max_size=5
)
_REQUESTS = st.lists(
    st.tuples(st.integers(1, 2), st.sampled_from([None, 0, 1, 2]), st.booleans()),
    min_size=1,
    max_size=3,
)
_RULES = st.sampled_from(
    [
        [],
        [{"matchAttribute": f"{DRIVER}/b"}],
        [{"distinctAttribute": f"{DRIVER}/a"}],
        [{"matchAttribute": f"{DRIVER}/b"}, {"distinctAttribute": f"{DRIVER}/a"}],
    ]
)


@settings(max_examples=300, deadline=None)
@given(_DEVICES, _REQUESTS, _RULES, st.integers(1, 3))
def test_it_finds_a_solution_when_there_is_one(
    rows: list[tuple[int, int, bool]],
    wanted: list[tuple[int, int | None, bool]],
    rules: list[dict[str, Any]],
    limit: int,
) -> None:
    """Devices have attributes a and b and some take from a counter of `limit`; requests want some
    with a given a."""
    consumes = [{"counterSet": "s", "counters": {"c": {"value": "1"}}}]
    made = [
        device(
            f"d{n}",
            attributes={"a": a, "b": b},
            **({"consumesCounters": consumes} if counted else {}),
        )
        for n, (a, b, counted) in enumerate(rows)
    ]
    cluster = Cluster(
        slice_of(
            "a", *made, sharedCounters=[{"name": "s", "counters": {"c": {"value": str(limit)}}}]
        )
    )
    requests = [
        ask(
            f"r{n}",
            *([f"{ATTRIBUTE}.a == {a}"] if a is not None else []),
            **({"allocationMode": "All"} if every else {"count": count}),
        )
        for n, (count, a, every) in enumerate(wanted)
    ]
    found = cluster.give(claim("c", *requests, constraints=rules))

    def lawful(chosen: list[tuple[int, ...]]) -> bool:
        used = [index for part in chosen for index in part]
        if len(set(used)) < len(used) or sum(rows[i][2] for i in used) > limit:
            return False
        for rule in rules:
            if "matchAttribute" in rule and len({rows[i][1] for i in used}) > 1:
                return False
            if "distinctAttribute" in rule and max(Counter(rows[i][0] for i in used).values()) > 1:
                return False
        return True

    options = []
    for count, a, every in wanted:
        suits = [i for i, row in enumerate(rows) if a is None or row[0] == a]
        options.append(
            [tuple(suits)]
            if every and suits
            else []
            if every
            else list(itertools.combinations(suits, count))
        )
    possible = any(lawful(list(choice)) for choice in itertools.product(*options))
    assert (found is not None) == possible
    if found is not None:
        chosen = [
            tuple(int(d[1:]) for r, d in found[0] if r == f"r{n}") for n in range(len(wanted))
        ]
        assert lawful(chosen) and all(
            choice in option for choice, option in zip(chosen, options, strict=True)
        )
