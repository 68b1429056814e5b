"""Between the versions nothing is lost, there and back, in either direction."""

from __future__ import annotations

import copy
import random
from typing import Any

import msgspec
import pytest

from tests.addons.inference.world import endpoint, s3_source
from tiphys.addons import reviews
from tiphys.addons.inference import definitions
from tiphys.addons.inference.conversion import KEPT, V1, V1ALPHA1, converted
from tiphys.addons.reviews import Refused
from tiphys.api.apiextensions_v1 import JSONSchemaProps

SCHEMAS: dict[tuple[str, str], JSONSchemaProps] = {
    (definition.spec.names.kind, version.name): version.schema.open_apiv3_schema
    for definition in definitions()
    for version in definition.spec.versions
    if version.schema is not None and version.schema.open_apiv3_schema is not None
}
KINDS = sorted({kind for kind, _ in SCHEMAS})


def anything(schema: JSONSchemaProps, chance: random.Random, depth: int = 0) -> Any:
    """A value of the schema's shape; which fields it has is left to chance."""
    if schema.enum:
        return chance.choice(schema.enum)
    if schema.type == "object" and schema.properties:
        return {
            name: anything(property_, chance, depth + 1)
            for name, property_ in schema.properties.items()
            if name in schema.required or chance.random() < 0.6
        }
    if schema.type == "object":
        return {"a": "b"}
    if schema.type == "array":
        items = schema.items
        assert isinstance(items, JSONSchemaProps)
        return [anything(items, chance, depth + 1) for _ in range(chance.randrange(3))]
    scalars = {"integer": 7, "number": 1.5, "boolean": chance.random() < 0.5}
    return scalars.get(schema.type, f"text-{chance.randrange(1000)}")


def random_object(kind: str, version: str, seed: int) -> dict[str, Any]:
    chance = random.Random(seed)
    made: dict[str, Any] = anything(SCHEMAS[kind, version], chance)
    metadata = {"name": f"one-{seed}", "namespace": "default", "annotations": {"team": "a"}}
    api_version = V1 if version == "v1" else V1ALPHA1
    return {**made, "apiVersion": api_version, "kind": kind, "metadata": metadata}


def test_objects_of_the_older_version_come_back_as_they_were() -> None:
    for seed in range(100):
        before = random_object(KINDS[seed % 3], "v1alpha1", seed)
        there = converted(copy.deepcopy(before), V1)
        assert there["apiVersion"] == V1 and KEPT not in there["metadata"]["annotations"]
        assert converted(there, V1ALPHA1) == before


def test_objects_of_the_newer_version_come_back_as_they_were() -> None:
    for seed in range(100):
        before = random_object(KINDS[seed % 3], "v1", seed)
        if "spec" in before:
            before["spec"].pop("instanceType" if seed % 2 else "instanceTypes", None)
        there = converted(copy.deepcopy(before), V1ALPHA1)
        assert there["apiVersion"] == V1ALPHA1
        assert converted(there, V1) == before


def test_the_older_version_shows_the_first_of_the_list() -> None:
    listed = ["ml.p4d.24xlarge", "ml.g5.24xlarge"]
    older = converted(endpoint(instanceTypes=listed), V1ALPHA1)
    assert older["spec"]["instanceType"] == listed[0] and "instanceTypes" not in older["spec"]


def test_who_changes_the_shown_type_means_it() -> None:
    older = converted(endpoint(instanceTypes=["ml.p4d.24xlarge", "ml.g5.24xlarge"]), V1ALPHA1)
    older["spec"]["instanceType"] = "ml.g5.8xlarge"
    newer = converted(older, V1)
    assert newer["spec"]["instanceType"] == "ml.g5.8xlarge"
    assert "instanceTypes" not in newer["spec"]


def test_a_part_that_was_taken_out_at_the_older_version_stays_out() -> None:
    tls = {"customCertificateConfig": {"acmArn": "arn", "domainName": "a.b"}}
    older = converted(endpoint(tlsConfig=tls, modelSourceConfig=s3_source()), V1ALPHA1)
    del older["spec"]["tlsConfig"]
    assert "tlsConfig" not in converted(older, V1)["spec"]


def test_an_annotation_that_is_none_of_ours_changes_nothing() -> None:
    older = converted(endpoint(instanceType="ml.g5.8xlarge"), V1ALPHA1)
    older["metadata"]["annotations"] = {KEPT: "[not json"}
    assert converted(older, V1)["spec"]["instanceType"] == "ml.g5.8xlarge"


def test_a_review_says_what_it_cannot_convert() -> None:
    request = {"uid": "u", "desiredAPIVersion": f"{V1}beta9", "objects": [endpoint()]}
    asked = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview"}
    answer = msgspec.json.decode(
        reviews.converted(msgspec.json.encode({**asked, "request": request}), converted)
    )
    assert answer["response"]["uid"] == "u"
    assert answer["response"]["result"]["status"] == "Failure"
    assert "cannot be converted" in answer["response"]["result"]["message"]


@pytest.mark.parametrize(
    ("obj", "wanted", "message"),
    [
        ({"kind": "Pod", "apiVersion": V1}, V1ALPHA1, "Pod is no kind of"),
        ({"apiVersion": V1}, V1ALPHA1, "None is no kind of"),
        ({"kind": "JumpStartModel", "apiVersion": V1}, "x/v9", "cannot be converted to x/v9"),
        ({"kind": "JumpStartModel", "apiVersion": "x/v9"}, V1, "x/v9 cannot be converted to"),
    ],
)
def test_what_cannot_be_converted_is_refused(
    obj: dict[str, Any], wanted: str, message: str
) -> None:
    with pytest.raises(Refused, match=message):
        converted(obj, wanted)


def test_an_object_of_the_version_that_is_wanted_is_what_it_is() -> None:
    obj = {"kind": "JumpStartModel", "apiVersion": V1}
    assert converted(obj, V1) is obj


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "7", "{}"])
def test_an_annotation_that_somebody_wrote_himself_is_nothing(text: str) -> None:
    annotations = {KEPT: text, "own": "x"}
    obj = {
        "kind": "JumpStartModel",
        "apiVersion": V1ALPHA1,
        "metadata": {"annotations": annotations},
        "spec": {"a": 1},
    }
    assert converted(obj, V1) == {
        **obj,
        "apiVersion": V1,
        "metadata": {"annotations": {"own": "x"}},
    }
    assert KEPT in annotations, "what is given stays as it is"
