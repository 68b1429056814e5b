"""The rules of every object's metadata: what is refused beside what is not."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.api.catalog import BY_PATH
from tiphys.api.meta_v1 import ObjectMeta, OwnerReference
from tiphys.apiserver.registry.metadata import (
    check_identity,
    check_namespace,
    drop_double_owners,
    validate_metadata,
    validate_metadata_update,
)
from tiphys.machinery.errors import StatusError
from tiphys.machinery.labelrules import validate_annotations, validate_labels
from tiphys.machinery.names import dns_subdomain_errors

PODS = BY_PATH["", "v1", "pods"]
NODES = BY_PATH["", "v1", "nodes"]
DEFINITIONS = BY_PATH["apiextensions.k8s.io", "v1", "customresourcedefinitions"]


def owner(name: str = "o", **parts: Any) -> OwnerReference:
    return OwnerReference(**{"api_version": "v1", "kind": "K", "uid": "u", "name": name, **parts})


def fields(resource: Any = PODS, **parts: Any) -> list[str]:
    namespace = "ns" if resource.namespaced else ""
    meta = ObjectMeta(**{"name": "a", "namespace": namespace, **parts})
    return [error.field for error in validate_metadata(meta, resource, dns_subdomain_errors)]


@pytest.mark.parametrize(
    ("parts", "broken"),
    [
        ({}, []),
        ({"name": ""}, ["metadata.name"]),
        ({"name": "A"}, ["metadata.name"]),
        ({"generate_name": "a-"}, []),
        ({"generate_name": "-a"}, ["metadata.generateName"]),
        ({"namespace": ""}, ["metadata.namespace"]),
        ({"namespace": "a.b"}, ["metadata.namespace"]),
        ({"labels": {"a": "b", "x.y/z": ""}}, []),
        ({"labels": {"-": "b"}}, ["metadata.labels"]),
        ({"labels": {"a": "-"}}, ["metadata.labels"]),
        ({"annotations": {"A/b": "anything at all"}}, []),
        ({"annotations": {"a b": ""}}, ["metadata.annotations"]),
        ({"finalizers": ["orphan", "kubernetes", "a.b/c"]}, []),
        ({"finalizers": ["mine"]}, ["metadata.finalizers[0]"]),
        ({"finalizers": ["a.b/-"]}, ["metadata.finalizers"]),
        ({"finalizers": ["foregroundDeletion", "orphan"]}, ["metadata.finalizers"]),
        ({"owner_references": [owner(controller=True), owner("p")]}, []),
        (
            {"owner_references": [owner(controller=True), owner("p", controller=True)]},
            ["metadata.ownerReferences"],
        ),
        ({"owner_references": [owner(api_version="")]}, ["metadata.ownerReferences.apiVersion"]),
        ({"owner_references": [owner(api_version="a/")]}, ["metadata.ownerReferences.apiVersion"]),
        ({"owner_references": [owner("")]}, ["metadata.ownerReferences.name"]),
        ({"owner_references": [owner(kind="")]}, ["metadata.ownerReferences.kind"]),
        ({"owner_references": [owner(uid="")]}, ["metadata.ownerReferences.uid"]),
        ({"owner_references": [owner(kind="Event")]}, ["metadata.ownerReferences"]),
        ({"owner_references": [owner(kind="Event", api_version="a/v1")]}, []),
    ],
)
def test_metadata_breaks_the_rule_of_the_field(parts: dict[str, Any], broken: list[str]) -> None:
    assert fields(**parts) == broken


def test_what_is_in_no_namespace_names_none() -> None:
    assert fields(NODES) == []
    assert fields(NODES, namespace="ns") == ["metadata.namespace"]


def test_finalizers_of_definitions_need_no_domain() -> None:
    assert fields(DEFINITIONS, finalizers=["mine"]) == []


def test_annotations_are_counted_together() -> None:
    limit = 256 * 1024
    assert validate_annotations({"a": "x" * (limit - 1)}, "p") == []
    [error] = validate_annotations({"a": "x" * (limit - 2), "b": "x"}, "p")
    assert error.reason == "FieldValueTooLong"


def test_both_the_key_and_the_value_of_a_label_are_named() -> None:
    assert len(validate_labels({"-": "-"}, "p")) == 2


@pytest.mark.parametrize(
    ("own", "requested", "allowed"),
    [("", "ns", True), ("ns", "ns", True), ("", "", True), ("ns", "other", False)],
)
def test_an_object_is_in_the_namespace_of_its_request(
    own: str, requested: str, allowed: bool
) -> None:
    meta = ObjectMeta(namespace=own)
    if not allowed:
        with pytest.raises(StatusError, match="does not match the namespace"):
            check_namespace(meta, requested)
    else:
        check_namespace(meta, requested)
        assert meta.namespace == requested


@pytest.mark.parametrize(("name", "message"), [("", "undeterminable"), ("b", "does not match")])
def test_an_object_has_the_name_of_its_request(name: str, message: str) -> None:
    with pytest.raises(StatusError, match=message):
        check_identity(ObjectMeta(name=name), PODS, "ns", "a")
    check_identity(ObjectMeta(name="a"), PODS, "ns", "a")


def test_owners_named_twice_are_kept_once() -> None:
    meta = ObjectMeta(owner_references=[owner(), owner("p"), owner()])
    drop_double_owners(meta)
    assert [one.name for one in meta.owner_references] == ["o", "p"]


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("name", "b"),
        ("namespace", "other"),
        ("uid", "u"),
        ("creation_timestamp", "2026-01-01T00:00:00Z"),
        ("deletion_timestamp", "2026-01-01T00:00:00Z"),
        ("deletion_grace_period_seconds", 3),
    ],
)
def test_what_the_server_says_of_an_object_does_not_change(attribute: str, value: Any) -> None:
    old = ObjectMeta(name="a", namespace="ns")
    new = ObjectMeta(name="a", namespace="ns", labels={"l": "v"})
    assert validate_metadata_update(new, old) == []
    setattr(new, attribute, value)
    [error] = validate_metadata_update(new, old)
    assert "field is immutable" in error.detail


def test_an_object_that_is_being_deleted_gets_no_further_finalizers() -> None:
    old = ObjectMeta(name="a", finalizers=["a.b/c"], deletion_timestamp="2026-01-01T00:00:00Z")
    fewer = ObjectMeta(name="a", deletion_timestamp="2026-01-01T00:00:00Z")
    more = ObjectMeta(
        name="a", finalizers=["a.b/c", "d.e/f"], deletion_timestamp="2026-01-01T00:00:00Z"
    )
    assert validate_metadata_update(fewer, old) == []
    [error] = validate_metadata_update(more, old)
    assert "no new finalizers can be added" in error.detail and "d.e/f" in error.detail
