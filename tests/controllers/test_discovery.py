"""What the server says can be listed and deleted, and what can be scaled."""

from __future__ import annotations

import pytest

from tests.builders import deployment
from tiphys.controllers.discovery import deletable
from tiphys.controllers.scales import Scales
from tiphys.testing import LocalCluster


async def test_every_namespaced_resource_is_named_once(server: LocalCluster) -> None:
    resources, stale = await deletable(server.client)
    names = [resource.group_resource for resource in resources]
    assert stale == [] and len(names) == len(set(names))
    assert {"pods", "deployments.apps", "events"} <= set(names)
    assert not {"nodes", "events.events.k8s.io", "bindings", "localsubjectaccessreviews"} & set(
        names
    )


async def test_a_scale_is_found_by_kind(server: LocalCluster) -> None:
    await server.client.create(deployment(replicas=4))
    scales = Scales(server.client)
    found = await scales.get("default", "apps/v1", "Deployment", "web")
    assert found.spec.replicas == 4
    path = await scales.path("default", "", "ReplicationController", "r")
    assert path == "/api/v1/namespaces/default/replicationcontrollers/r/scale"


@pytest.mark.parametrize(
    ("version", "kind", "error", "message"),
    [
        ("apps/v1", "Nothing", LookupError, 'no matches for kind "Nothing" in group "apps"'),
        ("none/v1", "Deployment", LookupError, 'no matches for kind "Deployment" in group "none"'),
        ("a/b/c", "Deployment", ValueError, "unexpected GroupVersion string: a/b/c"),
    ],
)
async def test_what_is_not_there_is_named(
    server: LocalCluster, version: str, kind: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        await Scales(server.client).plural(version, kind)
