"""What a server does about default roles and bindings when it starts."""

from __future__ import annotations

import pytest

from tests.apiserver.builders import call
from tiphys.apiserver.bootstrap import _roles
from tiphys.testing import LocalCluster

BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
OWN = "system:basic-user"


@pytest.fixture
async def started(server: LocalCluster) -> LocalCluster:
    await _roles(server.server.registry)
    return server


async def test_a_server_that_starts_again_writes_nothing(started: LocalCluster) -> None:
    """Every start added the subjects of each binding once more: of 12 kB after 250."""
    before = started.server.registry.store.revision
    await _roles(started.server.registry)
    assert started.server.registry.store.revision == before


async def test_what_earlier_starts_have_repeated_goes(started: LocalCluster) -> None:
    binding = await call(started, "GET", f"{BINDINGS}/{OWN}")
    own = binding["subjects"]
    other = {"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}
    await call(started, "PUT", f"{BINDINGS}/{OWN}", {**binding, "subjects": [*own, other, *own]})
    await _roles(started.server.registry)
    assert (await call(started, "GET", f"{BINDINGS}/{OWN}"))["subjects"] == [*own, other]


async def test_what_somebody_took_out_comes_back_unless_it_is_to_be_left(
    started: LocalCluster,
) -> None:
    binding = await call(started, "GET", f"{BINDINGS}/{OWN}")
    own = binding.pop("subjects")
    await call(started, "PUT", f"{BINDINGS}/{OWN}", binding)
    await _roles(started.server.registry)
    again = await call(started, "GET", f"{BINDINGS}/{OWN}")
    assert again["subjects"] == own
    again["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] = "false"
    del again["subjects"]
    await call(started, "PUT", f"{BINDINGS}/{OWN}", again)
    await _roles(started.server.registry)
    assert "subjects" not in await call(started, "GET", f"{BINDINGS}/{OWN}")
