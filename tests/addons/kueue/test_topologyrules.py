"""What annotations may say of how near pods are to each other, beside what `test_rules` has."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.kueue.builders import PREFIX
from tiphys.addons.kueue.jobs.topologies import topology_request
from tiphys.addons.kueue.rules.topologies import Grouped, of_annotations, of_groups

NEEDED, PREFERRED = f"{PREFIX}/podset-required-topology", f"{PREFIX}/podset-preferred-topology"
FREE, SLICE = f"{PREFIX}/podset-unconstrained-topology", f"{PREFIX}/podset-slice-required-topology"
SIZE, LAYERS = f"{PREFIX}/podset-slice-size", f"{SLICE}-constraints"
TOGETHER = f"{PREFIX}/podset-group-name"


def layers(*rows: tuple[str, int]) -> str:
    text = ",".join(f'{{"topology":"{topology}","size":{size}}}' for topology, size in rows)
    return f"[{text}]"


@pytest.mark.parametrize(
    ("annotations", "fields"),
    [
        ({}, []),
        ({NEEDED: "rack"}, []),
        ({NEEDED: "a b"}, [NEEDED]),
        ({PREFERRED: "a b"}, [PREFERRED]),
        ({SLICE: "a b", SIZE: "2"}, [SLICE]),
        ({NEEDED: "rack", FREE: "true"}, [""]),
        ({FREE: "true"}, []),
        ({SLICE: "rack", SIZE: "8"}, []),
        ({SLICE: "rack", SIZE: "1"}, []),
        ({SLICE: "rack", SIZE: "-1"}, [SIZE]),
        ({SLICE: "rack", SIZE: "9999999999"}, [SIZE]),
        ({NEEDED: "rack", TOGETHER: "g"}, []),
        ({PREFERRED: "rack", TOGETHER: "g"}, []),
        ({FREE: "true", TOGETHER: "g"}, [TOGETHER]),
        ({NEEDED: "rack", TOGETHER: "7g"}, []),
        ({NEEDED: "rack", TOGETHER: "7"}, [TOGETHER]),
        ({NEEDED: "block", SLICE: "rack", SIZE: "2", TOGETHER: "g"}, [TOGETHER, TOGETHER]),
        ({LAYERS: layers(("a", 8), ("b", 4), ("c", 2))}, []),
        ({LAYERS: layers(("a", 8), ("b", 4), ("c", 2), ("d", 1))}, [LAYERS]),
        ({LAYERS: "[]"}, [LAYERS]),
        ({LAYERS: "{"}, [LAYERS]),
        ({LAYERS: '[{"size":"x"}]'}, [LAYERS]),
        ({LAYERS: layers(("a b", 2))}, [f"{LAYERS}[0].topology"]),
        ({LAYERS: layers(("a", 0))}, [f"{LAYERS}[0].size"]),
        ({LAYERS: layers(("a", 4), ("b", 0))}, [f"{LAYERS}[1].size"]),
        ({LAYERS: layers(("a", 4), ("b", 3))}, [f"{LAYERS}[1].size"]),
        ({LAYERS: layers(("a", 4), ("a", 2))}, [f"{LAYERS}[1].topology"]),
        ({LAYERS: layers(("a", 4), ("b", 2), ("a", 1))}, [f"{LAYERS}[2].topology"]),
        ({LAYERS: layers(("a", 9))}, [LAYERS]),
        ({LAYERS: layers(("a", 8))}, []),
        ({LAYERS: layers(("a", 2)), SLICE: "rack", SIZE: "2"}, [LAYERS, LAYERS]),
        ({NEEDED: "x", LAYERS: layers(("a", 2)), TOGETHER: "g"}, [TOGETHER]),
    ],
)
def test_each_rule_names_its_annotation(annotations: dict[str, str], fields: list[str]) -> None:
    found = of_annotations(annotations, "metadata", 8)
    paths = [one.field.removeprefix("metadata.annotations") for one in found]
    assert paths == [f"[{name}]{rest}" if name else "" for name, rest in map(_parts, fields)]


def _parts(field: str) -> tuple[str, str]:
    """The annotation, and what of its value."""
    name, sign, rest = field.partition("[")
    return name, sign + rest


# --- a leader and its workers ---


def grouped(path: str, size: int, group: str = "g", **more: str) -> Grouped:
    modes = {"needed": NEEDED, "preferred": PREFERRED}
    annotations = {modes[name]: value for name, value in more.items()}
    if group:
        annotations[TOGETHER] = group
    return Grouped(annotations, path, size)


LEADER = grouped("a", 1, needed="rack")
TOO_MANY = "can only define groups of exactly 2 pod sets, got: {} pod set(s)"
TOO_LARGE = (
    "can only define groups where at least one pod set has only 1 replica, got: 2 replica(s) and "
    "3 replica(s) in the group"
)
UNLIKE = (
    f"must specify '{NEEDED}' or '{PREFERRED}' topology consistent with '{{}}.annotations' in "
    "group 'g'"
)


@pytest.mark.parametrize(
    ("sets", "problems"),
    [
        ([], []),
        ([grouped("a", 5, group="")], []),
        ([LEADER, grouped("b", 4, needed="rack")], []),
        ([grouped("a", 4, needed="rack"), grouped("b", 1, needed="rack")], []),
        ([LEADER], [("a", TOO_MANY.format(1))]),
        (
            [LEADER, grouped("b", 1, needed="rack"), grouped("c", 1, needed="rack")],
            [("a", TOO_MANY.format(3)), ("b", TOO_MANY.format(3)), ("c", TOO_MANY.format(3))],
        ),
        (
            [grouped("a", 2, needed="rack"), grouped("b", 3, needed="rack")],
            [("a", TOO_LARGE), ("b", TOO_LARGE)],
        ),
        (
            [LEADER, grouped("b", 4, needed="block")],
            [("a", UNLIKE.format("b")), ("b", UNLIKE.format("a"))],
        ),
        (
            [LEADER, grouped("b", 4, preferred="rack")],
            [("a", UNLIKE.format("b")), ("b", UNLIKE.format("a"))],
        ),
        (
            [LEADER, grouped("b", 4, group="h", needed="rack")],
            [("a", TOO_MANY.format(1)), ("b", TOO_MANY.format(1))],
        ),
    ],
)
def test_a_group_is_a_leader_and_its_workers_as_near(
    sets: list[Grouped], problems: list[tuple[str, str]]
) -> None:
    found = list(of_groups(sets))
    assert [one.field.partition(".")[0] for one in found] == [path for path, _ in problems]
    for one, (_, text) in zip(found, problems, strict=True):
        assert text in one.detail


# --- what is read of them ---


@pytest.mark.parametrize(
    ("annotations", "read"),
    [
        ({}, None),
        ({"other": "x"}, None),
        ({NEEDED: "rack"}, {"required": "rack"}),
        ({NEEDED: "rack", PREFERRED: "block"}, {"required": "rack"}),
        ({PREFERRED: "rack", FREE: "true"}, {"preferred": "rack"}),
        ({FREE: "T"}, {"unconstrained": True}),
        ({FREE: "false"}, {"unconstrained": False}),
        ({FREE: "maybe"}, None),
        ({SLICE: "rack", SIZE: "2"}, {"pod_set_slice_required_topology": "rack"}),
        ({SLICE: "rack"}, None),
        ({SIZE: "2"}, None),
        ({SLICE: "rack", SIZE: "x"}, None),
        ({NEEDED: "rack", TOGETHER: "g"}, {"required": "rack", "pod_set_group_name": "g"}),
        ({PREFERRED: "rack", TOGETHER: "g"}, {"preferred": "rack", "pod_set_group_name": "g"}),
        ({TOGETHER: "g"}, None),
        ({LAYERS: "x"}, None),
        ({NEEDED: 5}, None),
    ],
)
def test_what_the_rules_refuse_is_not_read(annotations: Any, read: dict[str, Any] | None) -> None:
    found = topology_request({"metadata": {"annotations": annotations}})
    if read is None:
        assert found is None
        return
    assert found is not None
    assert {name: getattr(found, name) for name in read} == read


def test_layers_come_before_single_slices() -> None:
    both = {LAYERS: layers(("a", 4), ("b", 2)), SLICE: "rack", SIZE: "2"}
    found = topology_request({"metadata": {"annotations": both}})
    assert found is not None and found.pod_set_slice_required_topology is None
    rows = found.podset_slice_required_topology_constraints
    assert [(one.topology, one.size) for one in rows] == [("a", 4), ("b", 2)]


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (("i", "", None), ("i", None, None)),
        (("i", "g", 3), ("i", "g", 3)),
        (("i", "", 3), ("i", None, None)),
        (("", "", None), None),
    ],
)
def test_a_request_says_where_pods_have_their_index(labels: Any, found: Any) -> None:
    made = topology_request({}, *labels)
    if found is None:
        assert made is None
        return
    assert made is not None
    assert (made.pod_index_label, made.sub_group_index_label, made.sub_group_count) == found
