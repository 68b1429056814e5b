"""Definitions of custom resources: upstream's apiextensions/validation, both sides of each rule."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.kit import SERVED
from tests.apiserver.rules import (
    STRATEGIES,
    built,
    fields,
    wrong_with,
    wrong_with_change,
    wrong_with_status,
)
from tests.apiserver.tables import each_row
from tiphys.apiserver.resources.customresourcedefinitions.rules import FINALIZER, approval

CRD = "customresourcedefinitions.apiextensions.k8s.io"
STRATEGY = STRATEGIES.of(SERVED[CRD])
OBJECT = {"type": "object"}
NAMES = {"plural": "ships", "singular": "ship", "kind": "Ship", "listKind": "ShipList"}


def version(name: str = "v1", schema: Any = OBJECT, storage: bool = True, **parts: Any) -> Any:
    published = {"schema": {"openAPIV3Schema": schema}} if schema is not None else {}
    return {"name": name, "served": True, "storage": storage, **published, **parts}


def definition(*versions: Any, names: Any = None, group: str = "e.com", **spec: Any) -> Any:
    named = {**NAMES, **(names or {})}
    body = {"group": group, "scope": "Cluster", "names": named, "versions": list(versions), **spec}
    return {"metadata": {"name": f"{named['plural']}.{group}"}, "spec": body}


def named(**names: Any) -> Any:
    return definition(version(), names=names)


def one(**parts: Any) -> Any:
    return definition(version(**parts))


def scaled(spec: str = ".spec.n", status: str = ".status.n", label: str | None = None) -> Any:
    scale = {"specReplicasPath": spec, "statusReplicasPath": status, "labelSelectorPath": label}
    return one(subresources={"scale": {k: v for k, v in scale.items() if v is not None}})


def converted(strategy: str, **webhook: Any) -> Any:
    conversion = {"strategy": strategy, **({"webhook": webhook} if webhook else {})}
    return definition(version(), conversion=conversion)


CLIENT = {"clientConfig": {"url": "https://h"}}
SCALE = "spec.subresources.scale"
REVIEWS = "spec.conversion.conversionReviewVersions"


@each_row(
    [
        (one(), []),
        ({**one(), "metadata": {"name": "other.e.com"}}, ["metadata.name"]),
        (definition(version(), group="com"), ["spec.group"]),
        (definition(version(), group="E.com"), ["metadata.name", "spec.group"]),
        ({**definition(version(), group=""), "metadata": {"name": "ships."}}, ["metadata.name", "spec.group"]),
        (definition(version(), scope=""), ["spec.scope"]),
        (definition(version(), scope="World"), ["spec.scope"]),
        (definition(version(), scope="Namespaced"), []),
        (definition(version(), preserveUnknownFields=True), ["spec.preserveUnknownFields"]),
        (definition(version(), preserveUnknownFields=False), []),
        # --- names ---
        (named(kind=""), ["spec.names.kind"]),
        (named(kind="Ship_"), ["spec.names.kind"]),
        (named(singular="Ship"), ["spec.names.singular"]),
        (named(listKind="Ship"), ["spec.names.listKind"]),
        (named(listKind="Ship-list-"), ["spec.names.listKind"]),
        (named(shortNames=["s", "S"], categories=["all", "1a"]), ["spec.names.shortNames[1]", "spec.names.categories[1]"]),
        ({**named(plural=""), "metadata": {"name": ".e.com"}}, ["metadata.name", "spec.names.plural"]),
        # --- versions ---
        (definition(version(), version("v2", storage=False)), []),
        (definition(version(), version("v2")), ["spec.versions", "status.storedVersions"]),
        (definition(version(storage=False)), ["spec.versions", "status.storedVersions"]),
        (definition(version(), version(storage=False)), ["spec.versions"]),
        (definition(version(schema=None)), ["spec.versions[0].schema.openAPIV3Schema"]),
        (definition(version("V1")), ["spec.versions[0].name", "spec.version"]),
        (definition(version(), version("V2", storage=False)), ["spec.versions[1].name"]),
        (one(deprecated=True, deprecationWarning="old"), []),
        (one(deprecated=True, deprecationWarning="x" * 256), []),
        (one(deprecated=True, deprecationWarning="x" * 257), ["spec.versions[0].deprecationWarning"]),
        (one(deprecated=True, deprecationWarning=""), ["spec.versions[0].deprecationWarning"]),
        (one(deprecated=True, deprecationWarning="a\tb"), ["spec.versions[0].deprecationWarning"]),
        (one(deprecationWarning="old"), ["spec.versions[0].deprecationWarning"]),
        # --- subresources ---
        (scaled(), []),
        (scaled(label=".status.s"), []),
        (scaled(label=".spec.s"), []),
        (scaled(label=""), []),
        (scaled(label=".metadata.s"), [f"{SCALE}.labelSelectorPath"]),
        (scaled(label="spec.s"), [f"{SCALE}.labelSelectorPath"]),
        (scaled(spec=""), [f"{SCALE}.specReplicasPath"]),
        (scaled(spec=".status.n"), [f"{SCALE}.specReplicasPath"]),
        (scaled(spec="spec.n"), [f"{SCALE}.specReplicasPath"]),
        (scaled(spec=".spec"), [f"{SCALE}.specReplicasPath"]),
        (scaled(status=""), [f"{SCALE}.statusReplicasPath"]),
        (scaled(status=".spec.n"), [f"{SCALE}.statusReplicasPath"]),
        # --- conversion ---
        (converted("None"), []),
        (converted("Some"), ["spec.conversion.strategy"]),
        (converted(""), ["spec.conversion.strategy"]),
        (converted("None", **CLIENT), ["spec.conversion.webhookClientConfig"]),
        (converted("None", conversionReviewVersions=["v1"]), [REVIEWS]),
        (converted("Webhook", **CLIENT, conversionReviewVersions=["v1"]), []),
        (converted("Webhook", **CLIENT, conversionReviewVersions=["v2", "v1beta1"]), []),
        (converted("Webhook", **CLIENT, conversionReviewVersions=["v2"]), [REVIEWS]),
        (converted("Webhook", **CLIENT, conversionReviewVersions=["v1", "v1"]), [f"{REVIEWS}[1]"]),
        (converted("Webhook", **CLIENT, conversionReviewVersions=["v1", "V2"]), [f"{REVIEWS}[1]"]),
        (converted("Webhook", **CLIENT), [REVIEWS]),
        (converted("Webhook", conversionReviewVersions=["v1"]), ["spec.conversion.webhookClientConfig"]),
        (converted("Webhook"), ["spec.conversion.webhookClientConfig", REVIEWS]),
        (converted("Webhook", clientConfig={"url": "http://h"}, conversionReviewVersions=["v1"]), ["spec.conversion.webhookClientConfig.url"]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_definition(parts: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with(CRD, parts)) == wrong


# --- what several versions say ---

NULLABLE = {"type": "object", "nullable": True}
BAD_COLUMN = [{"name": "c", "type": "text", "jsonPath": ".a"}]


@pytest.mark.parametrize(
    ("parts", "wrong"),
    [
        (definition(version(schema=NULLABLE)), ["spec.validation.openAPIV3Schema.nullable"]),
        (definition(version(schema=NULLABLE), version("v2", NULLABLE, False)), ["spec.validation.openAPIV3Schema.nullable"]),
        (definition(version(), version("v2", NULLABLE, False)), ["spec.versions[1].schema.openAPIV3Schema.nullable"]),
        (definition(version(additionalPrinterColumns=BAD_COLUMN), version("v2", storage=False)), ["spec.versions[0].additionalPrinterColumns[0].type"]),
        (definition(version(additionalPrinterColumns=BAD_COLUMN), version("v2", storage=False, additionalPrinterColumns=BAD_COLUMN)), ["spec.additionalPrinterColumns[0].type"]),
    ],
)  # fmt: skip
def test_what_all_versions_say_is_told_once(parts: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with(CRD, parts)) == wrong


SELECTED = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                **{f"f{n}": {"type": "string"} for n in range(9)},
                "bool": {"type": "boolean"},
                "int": {"type": "integer"},
                "float": {"type": "number"},
                "list": {"type": "array", "items": {"type": "string"}},
            },
        }
    },
}


@pytest.mark.parametrize(
    ("paths", "wrong"),
    [
        ([f".spec.f{n}" for n in range(8)], []),
        ([f".spec.f{n}" for n in range(9)], [""]),
        ([".spec.bool", ".spec.int"], []),
        ([".spec.float"], ["[0].jsonPath"]),
        ([".spec.list"], ["[0].jsonPath"]),
        ([".spec.f0", ".spec.f0"], ["[1].jsonPath"]),
        ([".spec.other", ""], ["[0].jsonPath", "[1].jsonPath"]),
    ],
)
def test_fields_by_which_objects_are_selected(paths: list[str], wrong: list[str]) -> None:
    parts = one(schema=SELECTED, selectableFields=[{"jsonPath": path} for path in paths])
    assert fields(wrong_with(CRD, parts)) == [f"spec.selectableFields{end}" for end in wrong]


# --- protected groups ---

APPROVED = "api-approved.kubernetes.io"


@each_row(
    [
        ("e.com", "", None, False),
        ("notk8s.io", "", None, False),
        ("x.k8s.io.com", "", None, False),
        ("x.k8s.io", "", "MissingAnnotation", True),
        ("kubernetes.io", "", "MissingAnnotation", True),
        ("x.k8s.io", "unapproved, testing", "UnapprovedAnnotation", False),
        ("x.k8s.io", "https://github.com/x", "ApprovedAnnotation", False),
        ("x.k8s.io", "yes", "InvalidAnnotation", True),
        ("x.k8s.io", "https://", "InvalidAnnotation", True),
    ],
)
def test_groups_that_kubernetes_keeps_for_itself(
    group: str, value: str, reason: str | None, wrong: bool
) -> None:
    annotations = {APPROVED: value} if value else {}
    review = approval(group, annotations)
    assert (review.reason if review else None) == reason
    assert review is None or (review.status == "True") == (reason == "ApprovedAnnotation")
    parts = definition(version(), group=group)
    parts["metadata"]["annotations"] = annotations
    assert bool(wrong_with(CRD, parts)) == wrong


# --- changes ---

ESTABLISHED = {"conditions": [{"type": "Established", "status": "True"}], "storedVersions": ["v1"]}
RENAMED = {"spec": {"names": {"kind": "Boat", "listKind": "BoatList"}}}


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"metadata": {"labels": {"a": "b"}}}, []),
        ({"spec": {"group": "f.com"}}, ["metadata.name", "spec.group"]),
        ({"spec": {"names": {"plural": "boats"}}}, ["metadata.name", "spec.names.plural"]),
        ({"spec": {"scope": "Namespaced"}}, []),
        (RENAMED, []),
        ({"spec": {"versions": [version("v2")]}}, ["status.storedVersions[0]"]),
        ({"spec": {"versions": [version(storage=False), version("v2")]}}, []),
    ],
)
def test_what_of_a_definition_changes(change: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with_change(CRD, one(), change)) == wrong


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"scope": "Namespaced"}, ["spec.scope"]),
        ({"names": {**NAMES, "kind": "Boat"}}, ["spec.names.kind"]),
        ({"names": {**NAMES, "listKind": "Fleet"}}, []),
    ],
)
def test_what_is_served_keeps_its_kind(change: dict[str, Any], wrong: list[str]) -> None:
    old = built(SERVED[CRD], {**one(), "status": ESTABLISHED})
    new = built(SERVED[CRD], {**one(), "status": ESTABLISHED})
    spec = built(SERVED[CRD], definition(version(), **change)).spec
    new.spec = spec
    assert [error.field for error in STRATEGY.validate_update(new, old)] == wrong


def test_a_definition_of_before_the_rules_may_be_labelled() -> None:
    old = definition(version(), scope="World")
    assert wrong_with_change(CRD, old, {"metadata": {"labels": {"a": "b"}}}) == []
    assert fields(wrong_with_change(CRD, old, RENAMED)) == ["spec.scope"]


def test_a_protected_group_keeps_its_review() -> None:
    before = definition(version(), group="x.k8s.io")
    assert wrong_with_change(CRD, before, {"metadata": {"labels": {"a": "b"}}}) == []
    said = {"metadata": {"annotations": {APPROVED: "yes"}}}
    assert fields(wrong_with_change(CRD, before, said)) == [f"metadata.annotations[{APPROVED}]"]


@pytest.mark.parametrize(
    ("stored", "wrong"),
    [
        (["v1"], []),
        ([], ["status.storedVersions"]),
        (["v1", "v0"], ["status.storedVersions[1]"]),
        (["v0"], ["status.storedVersions", "status.storedVersions[0]"]),
    ],
)
def test_versions_that_are_stored_are_there(stored: list[str], wrong: list[str]) -> None:
    status = {"storedVersions": stored}
    assert fields(wrong_with_status(CRD, status, one())) == wrong


def test_a_version_that_becomes_the_storage_is_noted_once() -> None:
    old = built(SERVED[CRD], {**one(), "status": {"storedVersions": ["v1"]}})
    new = built(SERVED[CRD], definition(version(storage=False), version("v2")))
    STRATEGY.prepare_for_update(new, old)
    assert new.status.stored_versions == ["v1", "v2"] and old.status.stored_versions == ["v1"]
    STRATEGY.prepare_for_update(new, new)
    assert new.status.stored_versions == ["v1", "v2"]


def test_objects_go_before_their_definition() -> None:
    obj = built(SERVED[CRD], one())
    assert STRATEGY.held(obj)
    STRATEGY.mark_deleted(obj)
    STRATEGY.mark_deleted(obj)
    assert obj.metadata.finalizers == [FINALIZER]
    obj.metadata.deletion_timestamp = "2026-01-01T00:00:00Z"
    assert not STRATEGY.held(obj)


def test_what_a_definition_does_not_say() -> None:
    bare = {"group": "e.com", "names": {"plural": "ships", "kind": "Ship"}}
    spec = built(SERVED[CRD], {"spec": bare}).spec
    assert (spec.names.singular, spec.names.list_kind) == ("ship", "ShipList")
    assert spec.conversion.strategy == "None"
    spec = built(SERVED[CRD], {"spec": {**bare, "names": {"plural": "ships"}}}).spec
    assert (spec.names.singular, spec.names.list_kind) == ("", "")
    for port, after in ((None, 443), (8443, 8443), (0, 0)):
        service = {"name": "s", "namespace": "n", **({} if port is None else {"port": port})}
        parts = converted("Webhook", clientConfig={"service": service})
        client = built(SERVED[CRD], parts).spec.conversion.webhook.client_config
        assert client.service.port == after
