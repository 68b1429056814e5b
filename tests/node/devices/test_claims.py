"""Claims of pods, and the drivers that prepare them over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders import node, pod
from tests.node.plugins.programs import Serving, shown, unary
from tests.scheduler.device_builders import ask, claim, class_of, device, slice_of
from tiphys.api import core_v1
from tiphys.api import resource_v1 as v1
from tiphys.machinery.devices import consumer
from tiphys.node.devices import dramessages as m
from tiphys.node.devices.claims import Claims
from tiphys.node.devices.draplugins import DriverError, Drivers
from tiphys.node.plugins.watcher import Plugin, PluginRefused
from tiphys.node.runtime import RuntimeFault
from tiphys.node.volumes.kubeletfolder import KubeletFolder
from tiphys.scheduler.devices.tracker import DeviceTracker
from tiphys.testing import LocalCluster

DRIVER = "gpu.example.com"
SOCKET = "plugins/gpu/dra.sock"


class GPUs(Serving):
    """A driver. `calls` are (what, names of claims); `error` is what it fails with."""

    def __init__(self, folder: KubeletFolder, service: str) -> None:
        self.calls: list[tuple[str, list[str]]] = []
        self.error = ""
        self.skips = False
        methods = {
            "NodePrepareResources": unary(self._prepare, m.NodePrepareResourcesRequest),
            "NodeUnprepareResources": unary(self._unprepare, m.NodeUnprepareResourcesRequest),
        }
        super().__init__(folder, SOCKET, {service: methods})

    async def _prepare(
        self, request: m.NodePrepareResourcesRequest, context: Any
    ) -> m.NodePrepareResourcesResponse:
        self.calls.append(("prepare", [one.name for one in request.claims]))
        claims = {} if self.skips else {one.uid: self._prepared(one) for one in request.claims}
        return m.NodePrepareResourcesResponse(claims=claims)

    def _prepared(self, one: m.Claim) -> m.NodePrepareResourceResponse:
        names = [f"example.com/gpu={one.name}"]
        made = m.Device(request_names=["r"], pool_name="p", device_name="d0", cdi_device_ids=names)
        return m.NodePrepareResourceResponse(devices=[made], error=self.error)

    async def _unprepare(
        self, request: m.NodeUnprepareResourcesRequest, context: Any
    ) -> m.NodeUnprepareResourcesResponse:
        self.calls.append(("unprepare", [one.name for one in request.claims]))
        claims = {one.uid: m.NodeUnprepareResourceResponse(self.error) for one in request.claims}
        return m.NodeUnprepareResourcesResponse(claims=claims)


class Node:
    """What a node has of drivers and claims; it can be started again."""

    def __init__(self, server: LocalCluster, root: Path) -> None:
        self._server = server
        self._file = root / "claims.json"
        self.folder = KubeletFolder(root / "kubelet")
        self.restart()

    def restart(self) -> None:
        self.drivers = Drivers(self.folder)
        self.claims = Claims(self._server.client, self.drivers, self._file)

    async def register(self, version: str = "v1.DRAPlugin") -> None:
        await self.drivers.register(Plugin(DRIVER, shown(SOCKET), (version,)))


@pytest.fixture
def here(server: LocalCluster, tmp_path: Path) -> Node:
    return Node(server, tmp_path)


@pytest.fixture
async def driver(here: Node) -> AsyncIterator[GPUs]:
    made = GPUs(here.folder, "k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin")
    await made.start()
    yield made
    await made.stop()


async def allocated(
    server: LocalCluster, made: v1.ResourceClaim, *users: core_v1.Pod
) -> v1.ResourceClaim:
    """The claim as it is stored, with what it asked for, for some pods."""
    devices = DeviceTracker(device_class=class_of)
    devices.inventory.put(slice_of("a", device("d0")))
    found = devices.allocate([made], node("a"))
    assert found is not None
    made.metadata.uid = ""
    stored = await server.client.create(made)
    stored.metadata.finalizers.append("resource.kubernetes.io/delete-protection")
    stored = await server.client.update(stored)
    stored.status.allocation = found[0]
    stored.status.reserved_for = [consumer(user) for user in users]
    return await server.client.update(stored, subresource="status")


def using(name: str, claim: str = "c", request: str = "") -> core_v1.Pod:
    """A pod whose container uses a claim, or one request of it."""
    uses = [{"name": "gpu", **({"request": request} if request else {})}]
    container = {"name": "c", "image": "i", "resources": {"claims": uses}}
    made = pod(
        name,
        containers=[container],
        resourceClaims=[{"name": "gpu", "resourceClaimName": claim}],
    )
    made.metadata.uid = f"uid-{name}"
    return made


async def test_a_driver_prepares_a_claim_once_for_all_pods_that_share_it(
    server: LocalCluster, here: Node, driver: GPUs
) -> None:
    one, other = using("p"), using("q")
    await allocated(server, claim("c", ask()), one, other)
    await here.register()
    await here.claims.prepare(one)
    await here.claims.prepare(other)
    await here.claims.prepare(one)
    assert driver.calls == [("prepare", ["c"])]
    assert here.claims.cdi(one, one.spec.containers[0]) == ["example.com/gpu=c"]
    await here.claims.release("uid-p")
    assert len(driver.calls) == 1
    await here.claims.release("uid-q")
    await here.claims.release("uid-q")
    assert driver.calls[1:] == [("unprepare", ["c"])]


async def test_a_container_gets_the_devices_of_its_request(
    server: LocalCluster, here: Node, driver: GPUs
) -> None:
    one = using("p", request="r")
    await allocated(server, claim("c", ask()), one)
    await here.register()
    await here.claims.prepare(one)
    assert here.claims.cdi(one, one.spec.containers[0]) == ["example.com/gpu=c"]
    shown = here.claims.shown(one, one.spec.containers[0])
    assert [(label, [device.id() for device in devices]) for label, devices in shown.items()] == [
        ("claim:gpu/r", ["example.com/gpu=c"])
    ]
    [held] = here.claims.held(one, one.spec.containers[0])
    assert (held.name, [device.place for device in held.of("")]) == ("c", [f"{DRIVER}/p/d0"])
    assert here.claims.pods_with({f"{DRIVER}/p/d0"}) == {"uid-p"}
    assert here.claims.pods_with({f"{DRIVER}/p/other"}) == set()
    other = using("p", request="another").spec.containers[0]
    assert here.claims.cdi(one, other) == []


async def test_a_container_gets_the_devices_of_its_extended_resources(
    server: LocalCluster, here: Node, driver: GPUs
) -> None:
    containers = [{"name": name, "image": "i"} for name in ("has", "hasnot")]
    one = pod("p", containers=containers)
    one.metadata.uid = "uid-p"
    one.status.extended_resource_claim_status = core_v1.PodExtendedResourceClaimStatus(
        request_mappings=[core_v1.ContainerExtendedResourceRequest("has", "example.com/gpu", "r")],
        resource_claim_name="c",
    )
    await allocated(server, claim("c", ask()), one)
    await here.register()
    await here.claims.prepare(one)
    has, has_not = one.spec.containers
    assert here.claims.cdi(one, has) == ["example.com/gpu=c"]
    assert [held.name for held in here.claims.held(one, has)] == ["c"]
    assert here.claims.cdi(one, has_not) == []
    assert here.claims.shown(one, has) == {}, "a status names claims of the pod alone"
    await here.claims.release("uid-p")
    assert driver.calls == [("prepare", ["c"]), ("unprepare", ["c"])]


async def test_an_agent_that_starts_again_ends_what_one_before_it_began(
    server: LocalCluster, here: Node, driver: GPUs
) -> None:
    one = using("p")
    await allocated(server, claim("c", ask()), one)
    await here.register()
    await here.claims.prepare(one)
    here.restart()
    await here.claims.reconcile({"uid-p"})
    assert here.claims.cdi(one, one.spec.containers[0]) == ["example.com/gpu=c"]
    await here.claims.reconcile(set())
    assert len(driver.calls) == 1  # its driver is not there yet
    await here.register()
    await here.claims.reconcile(set())
    assert driver.calls[1:] == [("unprepare", ["c"])]


async def test_a_driver_that_fails_is_asked_again_and_told_of_the_end(
    server: LocalCluster, here: Node, driver: GPUs
) -> None:
    one = using("p")
    await allocated(server, claim("c", ask()), one)
    await here.register()
    driver.error = "no power"
    text = "NodePrepareResources failed for ResourceClaim c: no power"
    with pytest.raises(RuntimeFault, match=text) as fault:
        await here.claims.prepare(one)
    assert fault.value.reason == "FailedPrepareDynamicResources"
    with pytest.raises(DriverError, match="NodeUnprepareResources failed for ResourceClaim c"):
        await here.claims.release("uid-p")
    driver.error = ""
    await here.claims.release("uid-p")
    assert [what for what, _ in driver.calls] == ["prepare", "unprepare", "unprepare"]


async def test_a_driver_answers_for_every_claim(
    server: LocalCluster, here: Node, driver: GPUs
) -> None:
    one = using("p")
    await allocated(server, claim("c", ask()), one)
    await here.register()
    driver.skips = True
    with pytest.raises(RuntimeFault, match="NodePrepareResources skipped 1 ResourceClaims"):
        await here.claims.prepare(one)
    await driver.stop()
    with pytest.raises(RuntimeFault, match="NodePrepareResources: "):
        await here.claims.prepare(one)


async def test_a_claim_for_nothing_needs_nobody(server: LocalCluster, here: Node) -> None:
    one = using("p")
    await allocated(server, claim("c"), one)
    await here.claims.prepare(one)


async def test_pods_without_a_driver_or_with_the_claims_of_others_do_not_start(
    server: LocalCluster, here: Node
) -> None:
    one = using("p")
    await allocated(server, claim("c", ask()), one)
    with pytest.raises(RuntimeFault, match=r"DRA driver gpu\.example\.com is not registered"):
        await here.claims.prepare(one)
    with pytest.raises(
        RuntimeFault, match=r"pod q \(uid-q\) is not allowed to use ResourceClaim c"
    ):
        await here.claims.prepare(using("q"))
    with pytest.raises(RuntimeFault, match="fetch ResourceClaim missing"):
        await here.claims.prepare(using("p", "missing"))


async def test_a_driver_may_speak_the_version_before(server: LocalCluster, here: Node) -> None:
    driver = GPUs(here.folder, "k8s.io.kubelet.pkg.apis.dra.v1beta1.DRAPlugin")
    await driver.start()
    one = using("p")
    await allocated(server, claim("c", ask()), one)
    await here.register("v1beta1.DRAPlugin")
    await here.claims.prepare(one)
    assert driver.calls == [("prepare", ["c"])]
    await driver.stop()


@pytest.mark.parametrize(
    ("versions", "problem"),
    [
        ((), r"empty list of supported gRPC services \(aka supported versions\)"),
        (
            ("v9.X",),
            r'none of services supported by the plugin \(\["v9.X"\]\) are supported by '
            r'the kubelet \(\["v1.DRAPlugin" "v1beta1.DRAPlugin"\]\)',
        ),
    ],
)
def test_a_driver_has_to_speak_a_version_of_ours(
    here: Node, versions: tuple[str, ...], problem: str
) -> None:
    with pytest.raises(PluginRefused, match=problem):
        here.drivers.validate(Plugin(DRIVER, shown(SOCKET), versions))
