"""Which claims a node without drivers can do with."""

from __future__ import annotations

import pytest

from tests.builders import node, pod
from tests.scheduler.device_builders import ask, claim, class_of, device, slice_of
from tiphys.api import core_v1
from tiphys.api import resource_v1 as v1
from tiphys.machinery.devices import consumer
from tiphys.node.pod.claims import prepare
from tiphys.node.runtime import RuntimeFault
from tiphys.scheduler.devices.tracker import DeviceTracker
from tiphys.testing import LocalCluster


async def user(
    server: LocalCluster, made: v1.ResourceClaim, reserved: bool = True, given: bool = True
) -> core_v1.Pod:
    """A pod of the claim, which has what it asked for."""
    devices = DeviceTracker(device_class=class_of)
    devices.inventory.put(slice_of("a", device("d0")))
    found = devices.allocate([made], node("a"))
    assert found is not None
    made.metadata.uid = ""
    stored = await server.client.create(made)
    using = pod("p", resourceClaims=[{"name": "gpu", "resourceClaimName": made.metadata.name}])
    using.metadata.uid = "u"
    if given:
        stored.metadata.finalizers.append("resource.kubernetes.io/delete-protection")
        stored = await server.client.update(stored)
        stored.status.allocation = found[0]
        if reserved:
            stored.status.reserved_for = [consumer(using)]
        await server.client.update(stored, subresource="status")
    return using


async def test_a_claim_for_nothing_needs_nobody(server: LocalCluster) -> None:
    await prepare(server.client, await user(server, claim("c")))


async def test_a_claim_with_devices_needs_their_driver(server: LocalCluster) -> None:
    using = await user(server, claim("c", ask()))
    with pytest.raises(
        RuntimeFault, match=r"DRA driver gpu\.example\.com is not registered"
    ) as fault:
        await prepare(server.client, using)
    assert fault.value.reason == "FailedPrepareDynamicResources"


async def test_claims_of_others_and_claims_that_have_nothing_are_refused(
    server: LocalCluster,
) -> None:
    with pytest.raises(RuntimeFault, match=r"pod p \(u\) is not allowed to use ResourceClaim c"):
        await prepare(server.client, await user(server, claim("c", ask()), reserved=False))
    with pytest.raises(RuntimeFault, match="fetch ResourceClaim missing"):
        await prepare(
            server.client,
            pod("p", resourceClaims=[{"name": "gpu", "resourceClaimName": "missing"}]),
        )
