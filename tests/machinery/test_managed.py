"""The algebra of field sets and of server-side apply."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tiphys.api import core_v1
from tiphys.machinery.errors import StatusError
from tiphys.machinery.fieldsets import difference, intersection, joined, ordered, paths, union
from tiphys.machinery.managed import APPLY, Managed, Manager, apply
from tiphys.machinery.typed import Node, compare, fields_in, merge, node_of, without

NODE = node_of(core_v1.ConfigMap)
POD = node_of(core_v1.Pod)
NOW = "2026-01-01T00:00:00Z"

elements = st.sampled_from(["f:a", "f:b", "v:1", 'k:{"n":"x"}'])
sets = st.recursive(
    st.just({}),
    lambda below: st.dictionaries(st.one_of(elements, st.just(".")), below, max_size=3),
    max_leaves=8,
).map(lambda tree: tree if isinstance(tree, dict) else {})


def normal(tree: dict[str, Any]) -> dict[str, Any]:
    return {k: {} if k == "." else normal(v) for k, v in tree.items()}


def members(tree: dict[str, Any]) -> set[str]:
    return set(paths({k: v for k, v in normal(tree).items() if k != "."}))


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(sets, sets)
def test_sets_follow_the_laws_of_sets(left: dict[str, Any], right: dict[str, Any]) -> None:
    a, b = ({k: v for k, v in normal(s).items() if k != "."} for s in (left, right))
    assert members(union(a, b)) == members(a) | members(b)
    assert members(intersection(a, b)) == members(a) & members(b)
    assert members(difference(a, b)) == members(a) - members(b)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(sets, sets)
def test_sets_in_order_stay_in_order(left: dict[str, Any], right: dict[str, Any]) -> None:
    a, b = (ordered({k: v for k, v in normal(s).items() if k != "."}) for s in (left, right))
    for made, wanted in ((joined(a, b), union(a, b)), (difference(a, b), difference(a, b))):
        assert json.dumps(made) == json.dumps(ordered(wanted))


@given(sets, sets)
def test_a_set_that_loses_nothing_is_the_same(left: dict[str, Any], right: dict[str, Any]) -> None:
    a, b = ({k: v for k, v in normal(s).items() if k != "."} for s in (left, right))
    assert (difference(a, b) is a) == (not members(intersection(a, b)))


keys = st.sampled_from("abcd")
data = st.dictionaries(keys, st.sampled_from(["1", "2"]), max_size=4)


def config(values: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": values}


def owner(name: str) -> Manager:
    return Manager(name, APPLY, "v1")


class World:
    """One object and its managers."""

    def __init__(self) -> None:
        self.obj: dict[str, Any] = {}
        self.managed = Managed({}, {})

    def apply(self, name: str, values: dict[str, str], force: bool = True) -> World:
        done = apply(
            copy.deepcopy(self.managed), self.obj, config(values), NODE, owner(name), force, NOW
        )
        self.obj, self.managed = done.obj, Managed.decode(done.entries)
        return self


@given(data, data)
def test_apply_is_idempotent(before: dict[str, str], values: dict[str, str]) -> None:
    once = World().apply("other", before).apply("me", values)
    obj, sets_ = copy.deepcopy(once.obj), dict(once.managed.sets)
    once.apply("me", values)
    assert once.obj == obj and once.managed.sets == sets_


@given(data, data)
def test_disjoint_owners_commute(left: dict[str, str], right: dict[str, str]) -> None:
    right = {k: v for k, v in right.items() if k not in left}
    one, two = (
        World().apply("a", left).apply("b", right),
        World().apply("b", right).apply("a", left),
    )
    assert (
        one.obj.get("data", {}) == two.obj.get("data", {}) and one.managed.sets == two.managed.sets
    )


@given(data, data, data)
def test_nobodys_field_is_dropped_by_another(
    mine: dict[str, str], first: dict[str, str], then: dict[str, str]
) -> None:
    world = World().apply("me", mine)
    theirs = {k: v for k, v in first.items() if mine.get(k, v) == v}
    later = {k: v for k, v in then.items() if mine.get(k, v) == v}
    world.apply("them", theirs, force=False).apply("them", later, force=False)
    assert {k: world.obj["data"].get(k) for k in mine} == mine


@given(data, data)
def test_what_is_said_is_there(before: dict[str, str], values: dict[str, str]) -> None:
    world = World().apply("other", before).apply("me", values)
    assert {k: world.obj["data"][k] for k in values} == values


POD_A: Any = {"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}}


@pytest.mark.parametrize(
    ("live", "applied", "order"),
    [
        (["a", "b"], ["c"], ["a", "b", "c"]),
        (["a", "b", "c"], ["c", "a"], ["b", "c", "a"]),
        ([], ["b", "a"], ["b", "a"]),
    ],
)
def test_the_appliers_order_counts(live: list[str], applied: list[str], order: list[str]) -> None:
    def pod(names: list[str]) -> Any:
        return {"spec": {"containers": [{"name": n} for n in names]}}

    merged = merge(pod(live), pod(applied), POD)
    assert [c["name"] for c in merged["spec"]["containers"]] == order


def test_comparing_names_what_changed() -> None:
    new = copy.deepcopy(POD_A)
    new["spec"]["containers"][0]["image"] = "2"
    del new["spec"]["containers"][1]
    found = compare(POD_A, new, POD)
    assert list(paths(found.modified)) == ['.spec.containers[name="a"].image']
    assert '.spec.containers[name="b"]' in list(paths(found.removed)) and not found.added


def test_removing_an_item_takes_what_is_below() -> None:
    gone = {"f:spec": {"f:containers": {'k:{"name":"a"}': {}}}}
    assert without(POD_A, gone, POD) == {"spec": {"containers": [{"name": "b", "image": "1"}]}}


def test_a_leaf_is_one_field() -> None:
    assert fields_in({"a": {"b": 1}}, Node("map", {"a": Node("leaf")})) == {"f:a": {}}


ITEMS = Node(
    "map",
    {
        "items": Node(
            "list",
            item=Node(
                "map",
                {"name": Node("leaf"), "v": Node("leaf"), "sub": Node("map", {"x": Node("leaf")})},
            ),
            keys=(("name", None),),
        )
    },
)


def test_an_item_goes_with_its_owner_whatever_others_own_in_it() -> None:
    """Who only changed a field of an item does not keep the item: half of one, without its key,
    could not be stored."""
    mine, theirs = owner("me"), Manager("them", "Update", "v1")
    live = {"items": [{"name": "a", "v": "2"}, {"name": "b"}]}
    item = 'k:{"name":"a"}'
    sets = {
        mine: {"f:items": {item: {".": {}, "f:name": {}}}},
        theirs: {"f:items": {item: {"f:v": {}}}},
    }
    done = apply(Managed(sets, {}), live, {"items": []}, ITEMS, mine, False, NOW)
    assert done.obj == {"items": [{"name": "b"}]}


def test_a_map_that_loses_everything_goes() -> None:
    mine = owner("me")
    live = {"items": [{"name": "a", "sub": {"x": "1"}}]}
    sets = {mine: {"f:items": {'k:{"name":"a"}': {".": {}, "f:name": {}, "f:sub": {"f:x": {}}}}}}
    done = apply(Managed(sets, {}), live, {"items": [{"name": "a"}]}, ITEMS, mine, False, NOW)
    assert done.obj == {"items": [{"name": "a"}]}


def test_the_order_of_a_set_is_no_change_of_the_item_it_is_in() -> None:
    node = Node(
        "map",
        {
            "items": Node(
                "list",
                item=Node("map", {"name": Node("leaf"), "s": Node("set")}),
                keys=(("name", None),),
            )
        },
    )
    one, other = ({"items": [{"name": "a", "s": order}]} for order in (["u", "v"], ["v", "u"]))
    assert compare(one, other, node).same


def test_an_item_of_references_is_one_field() -> None:
    owner_ref = {"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u"}
    fields = fields_in({"metadata": {"ownerReferences": [owner_ref]}}, POD)
    assert fields == {"f:metadata": {"f:ownerReferences": {'k:{"uid":"u"}': {}}}}


def test_a_key_that_is_left_out_has_its_zero_value() -> None:
    containers = fields_in({"spec": {"containers": [{"image": "a"}]}}, POD)["f:spec"][
        "f:containers"
    ]
    assert list(containers) == ['k:{"name":""}']
    ports = node_of(core_v1.Service).child("spec", {}).child("ports", [])
    assert list(fields_in([{"name": "p"}], ports)) == ['k:{"port":0,"protocol":"TCP"}']


def test_lists_of_ephemeral_containers_have_keys_as_those_of_containers() -> None:
    spec = {"ephemeralContainers": [{"name": "e", "env": [{"name": "A", "value": "1"}]}]}
    env = fields_in({"spec": spec}, POD)["f:spec"]["f:ephemeralContainers"]['k:{"name":"e"}'][
        "f:env"
    ]
    assert env == {'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}}


def test_the_time_of_a_manager_is_that_of_its_last_change() -> None:
    managed = Managed({}, {})
    first = apply(managed, {}, config({"a": "1"}), NODE, owner("me"), False, "t1")
    again = apply(
        Managed.decode(first.entries), first.obj, config({"a": "1"}), NODE, owner("me"), False, "t2"
    )
    changed = apply(
        Managed.decode(again.entries), again.obj, config({"a": "2"}), NODE, owner("me"), False, "t3"
    )
    times = [[entry.time for entry in done.entries] for done in (first, again, changed)]
    assert times == [["t1"], ["t1"], ["t3"]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"a": "2"},
            'Apply failed with 1 conflict: conflict with "them": .data.a',
        ),
        (
            {"a": "2", "b": "2"},
            'Apply failed with 2 conflicts: conflicts with "them":\n- .data.a\n- .data.b',
        ),
    ],
)
def test_conflicts_are_named(values: dict[str, str], message: str) -> None:
    world = World().apply("them", {"a": "1", "b": "1"})
    with pytest.raises(StatusError) as refused:
        world.apply("me", values, force=False)
    assert str(refused.value) == message and refused.value.code == 409
