"""The definitions, on a real API server."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.addons import mesh
from tiphys.machinery.errors import StatusError
from tiphys.operator.run import install
from tiphys.testing import LocalCluster

VERSION = "mesh.tiphys.dev/v1alpha1"


REFUSED: tuple[tuple[str, str, dict[str, Any], str], ...] = (
    ("MeshPolicy", "other", {"mode": "Strict"}, "a namespace has one, named default"),
    ("MeshPolicy", "default", {"mode": "Loose"}, "spec.mode"),
    ("ServiceRoute", "r", {}, "spec.service"),
    ("ServiceRoute", "r", {"service": "s", "timeouts": {"request": "1d"}}, "timeouts.request"),
    ("ServiceRoute", "r", {"service": "s", "retry": {"codes": [200]}}, "spec.retry.codes[0]"),
    ("ServiceRoute", "r", {"service": "s", "backendRefs": [{"name": "b"}]}, "[0].port"),
)


async def test_what_makes_no_sense_is_refused(server: LocalCluster) -> None:
    await install(server.client, mesh.definitions(), "test")
    for kind, name, spec, field in REFUSED:
        metadata = {"name": name, "namespace": "default"}
        body = {"apiVersion": VERSION, "kind": kind, "metadata": metadata, "spec": spec}
        with pytest.raises(StatusError) as refused:
            await server.client.create(body)
        assert refused.value.code == 422 and field in str(refused.value)
