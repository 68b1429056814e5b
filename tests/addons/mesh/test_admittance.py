"""Who is let in to the mesh's xDS server, and what each is served: real tokens of a real API
server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.addons.mesh.server import Mesh, ask, identity, running, told
from tiphys.addons import installing, mesh, removing
from tiphys.addons.mesh.types import MeshPolicy, MeshPolicySpec
from tiphys.api import admissionregistration_v1, core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.network.xds.cache import LISTENER, SECRET


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Mesh]:
    async with running(tmp_path) as mesh_:
        yield mesh_


async def test_a_sidecar_gets_what_is_its_own_and_news_of_it(made: Mesh) -> None:
    token = await made.token(await made.pod("asker"))
    async with made.stream(token) as stream:
        (first,) = await ask(stream, SECRET, "certificate")
        assert identity(first) == "spiffe://cluster.local/ns/default/sa/asker"
        (second,) = await told(stream)  # at half of four seconds
        assert identity(second) == identity(first) and second.version != first.version
        listeners = {one.name: one.version for one in await ask(stream, LISTENER)}
        assert {"inbound", "outbound", "probes"} <= set(listeners)
        meta = ObjectMeta(name="default", namespace="default")
        await made.client.create(MeshPolicy(metadata=meta, spec=MeshPolicySpec(mode="Strict")))
        changed: list[Any] = []
        while not any(one.name == "inbound" for one in changed):
            changed = await told(stream)
        await made.client.delete(core_v1.Pod, "asker", "default", grace=0)
        with pytest.raises((grpc.aio.AioRpcError, TypeError, AttributeError)):
            while True:
                await told(stream)
    assert (await made.refusal(token))[0] == grpc.StatusCode.UNAUTHENTICATED


async def test_enabled_again_it_is_as_it_was_and_disabled_it_leaves_nothing(made: Mesh) -> None:
    kind = admissionregistration_v1.MutatingWebhookConfiguration
    hooks = (await made.client.get(kind, mesh.WEBHOOK)).webhooks
    assert [one.failure_policy for one in hooks] == ["Fail"]
    await installing.enable(made.client, mesh.ADDON, made.settings)
    assert (await made.client.get(kind, mesh.WEBHOOK)).webhooks == hooks
    secret = await made.client.get(core_v1.Secret, mesh.AUTHORITY, "tiphys-addons")
    assert secret.data["tls.crt"] == made.root
    await removing.disable(made.client, mesh.ADDON)
    assert not (await made.client.list(kind)).items
    names = [one.metadata.name for one in (await made.client.list(core_v1.Secret)).items]
    assert mesh.AUTHORITY not in names
