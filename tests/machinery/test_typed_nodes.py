"""What the places of a type are, and what names the items of its lists."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.api import apps_v1, core_v1
from tiphys.machinery.structural import compile_schema
from tiphys.machinery.typed.items import MergeError, items_of, key_element, stored_items
from tiphys.machinery.typed.nodes import DEDUCED, LEAF, Node, node_of, node_of_schema


def at(node: Node, path: str) -> Node:
    """The node at a path; `[]` is an item."""
    for part in path.split("."):
        if part == "[]":
            assert node.item is not None
            node = node.item
        else:
            node = node.child(part, {})
    return node


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("metadata", "map"),
        ("metadata.labels", "map"),
        ("metadata.labels.x", "leaf"),
        ("metadata.finalizers", "set"),
        ("metadata.finalizers.[]", "leaf"),
        ("metadata.ownerReferences", "list"),
        ("metadata.ownerReferences.[]", "leaf"),  # replaced as a whole
        ("spec.containers", "list"),
        ("spec.containers.[]", "map"),
        ("spec.containers.[].command", "leaf"),
        ("spec.imagePullSecrets.[]", "leaf"),
        ("spec.nodeSelector", "leaf"),  # atomic
        ("spec.tolerations", "leaf"),
        ("spec.nodeName", "leaf"),
        ("nobody", "map"),  # what no type names is deduced from its value
    ],
)
def test_a_place_of_a_pod(path: str, kind: str) -> None:
    assert at(node_of(core_v1.Pod), path).kind == kind


def test_keys_have_the_defaults_that_upstreams_schema_gives() -> None:
    pod, service = node_of(core_v1.Pod), node_of(core_v1.Service)
    assert at(pod, "spec.containers").keys == (("name", ""),)
    assert dict(at(pod, "spec.containers.[].ports").keys)["protocol"] == "TCP"
    assert dict(at(service, "spec.ports").keys)["protocol"] == "TCP"
    assert at(pod, "spec.imagePullSecrets").keys == (("name", ""),)


def test_a_type_names_its_fields_and_no_others() -> None:
    node = node_of(apps_v1.Deployment)
    assert node.named("spec") and not node.named("other")
    assert not LEAF.named("spec")
    assert DEDUCED.child("x", 7) is LEAF and DEDUCED.child("x", {}) is DEDUCED
    assert node_of(core_v1.ConfigMap).child("data", {}).child("any", "v") is LEAF


def schema(**fields: Any) -> Node:
    return node_of_schema(compile_schema(fields))


ITEM = {"type": "object", "properties": {"name": {"type": "string"}, "p": {"type": "string"}}}


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"type": "string"}, "leaf"),
        ({"type": "array", "items": {"type": "string"}}, "leaf"),
        ({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}, "set"),
        (
            {
                "type": "array",
                "items": ITEM,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
            "list",
        ),
        ({"type": "array", "items": ITEM, "x-kubernetes-list-type": "atomic"}, "leaf"),
        ({"type": "object", "properties": {"a": {"type": "string"}}}, "map"),
        ({"type": "object"}, "map"),
        ({"type": "object", "x-kubernetes-map-type": "atomic"}, "leaf"),
        ({"x-kubernetes-preserve-unknown-fields": True}, "map"),
        ({"x-kubernetes-int-or-string": True}, "leaf"),
    ],
)
def test_a_place_of_a_schema(fields: dict[str, Any], kind: str) -> None:
    assert schema(**fields).kind == kind


def test_keys_of_a_schemas_list_have_its_defaults() -> None:
    item = {
        "type": "object",
        "properties": {"p": {"type": "string", "default": "TCP"}, "n": {"type": "integer"}},
    }
    node = schema(
        type="array",
        items=item,
        **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["p", "n", "absent"]},
    )
    assert node.keys == (("p", "TCP"), ("n", None), ("absent", None))


def test_what_no_schema_names_is_of_its_additional_properties_or_deduced() -> None:
    node = schema(type="object", additionalProperties=ITEM)
    assert node.child("x", {}).named("name") and not node.untyped
    free = schema(**{"x-kubernetes-preserve-unknown-fields": True})
    assert free.untyped and node_of_schema(compile_schema({"type": "object"}), True).kind == "map"


def test_whole_objects_have_a_kind_and_metadata() -> None:
    compiled = compile_schema({"type": "object", "properties": {"spec": ITEM}})
    root, inner = node_of_schema(compiled, True), node_of_schema(compiled)
    assert root.named("metadata") and root.named("kind") and not inner.named("metadata")
    assert at(root, "metadata.finalizers").kind == "set"
    embedded = schema(
        type="object",
        properties={"spec": ITEM},
        **{"x-kubernetes-embedded-resource": True},
    )
    assert embedded.named("apiVersion") and at(embedded, "metadata.labels").kind == "map"


# --- items ---


PORTS = Node("list", item=LEAF, keys=(("port", None), ("protocol", "TCP")))
NAMED = Node("list", item=LEAF, keys=(("name", None),))
SET = Node("set", item=LEAF)


@pytest.mark.parametrize(
    ("item", "element"),
    [
        ({"port": 1}, 'k:{"port":1,"protocol":"TCP"}'),
        ({"port": 1, "protocol": "UDP"}, 'k:{"port":1,"protocol":"UDP"}'),
        ({}, 'k:{"protocol":"TCP"}'),
        ({"port": None, "protocol": "UDP"}, 'k:{"protocol":"UDP"}'),
    ],
)
def test_an_item_is_named_by_its_keys(item: dict[str, Any], element: str) -> None:
    assert key_element(item, PORTS) == element


def test_an_item_without_keys_is_refused_with_its_place() -> None:
    with pytest.raises(MergeError, match=r"^element 1: associative list with keys has an element "):
        items_of([{"name": "a"}, 7], NAMED)
    with pytest.raises(MergeError, match=r"omits all key fields \[\"name\"\] \(and doesn't have"):
        items_of([{"other": "a"}], NAMED)


def test_an_item_that_is_stored_without_keys_is_named_by_its_place() -> None:
    items = stored_items([{"name": "a"}, 7, {}], NAMED)
    assert items == [('k:{"name":"a"}', {"name": "a"}), ("i:1", 7), ("i:2", {})]


def test_an_item_of_a_set_is_named_by_itself() -> None:
    assert items_of(["a", 7], SET) == stored_items(["a", 7], SET) == [('v:"a"', "a"), ("v:7", 7)]


def test_an_error_says_where_it_is() -> None:
    error = MergeError("wrong", ".b")
    assert str(error) == ".b: wrong" and str(error.within(".a")) == ".a.b: wrong"
    assert str(MergeError("wrong")) == "wrong"
