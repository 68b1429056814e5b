"""What a node's drivers and plugins do for its pods."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders import pod
from tiphys.node.devices import nodedevices
from tiphys.node.devices.allocations import AllocationError
from tiphys.node.devices.draplugins import DriverError
from tiphys.node.devices.edits import ContainerEdits
from tiphys.node.devices.nodedevices import ClaimDevice, DriverDevices
from tiphys.node.runtime import RuntimeFault
from tiphys.node.volumes.kubeletfolder import KubeletFolder


class Claims:
    """Stands for the claims of pods. `fails`: whatever is asked of it does."""

    def __init__(self) -> None:
        self.fails = False
        self.calls: list[str] = []
        self.names = ["a/b=1"]
        self.held_claims: list[Any] = []

    def _called(self, what: str) -> None:
        self.calls.append(what)
        if self.fails:
            raise DriverError("no answer")

    async def prepare(self, pod: Any) -> None:
        self._called("prepare")

    async def release(self, uid: str) -> None:
        self._called(f"release {uid}")

    def cdi(self, pod: Any, container: Any) -> list[str]:
        self._called("cdi")
        return self.names

    def held(self, pod: Any, container: Any) -> list[Any]:
        self._called("held")
        return self.held_claims

    def shown(self, pod: Any, container: Any) -> dict[str, list[Any]]:
        self._called("shown")
        return {"claim:c": [Device("gpu/p/d")]}

    def pods_with(self, places: Any) -> set[str]:
        return {f"pod of {place}" for place in places}

    async def reconcile(self, active: set[str]) -> None:
        self.calls.append(f"reconcile {sorted(active)}")


class Device:
    def __init__(self, place: str) -> None:
        self.place = place
        self.cdi = ["a/b=1"]
        self.share = "s"

    def id(self) -> str:
        return "id"


class Plugins:
    """Stands for the devices of plugins."""

    fails = False
    made = ContainerEdits()

    def __init__(self) -> None:
        self.kept: set[str] = set()

    async def allocate(self, pod: Any) -> None:
        if self.fails:
            raise AllocationError("there are none")

    async def edits(self, pod: Any, container: Any) -> ContainerEdits:
        if self.fails:
            raise AllocationError("there are none")
        return self.made

    def health(self, uid: str, container: str) -> dict[str, dict[str, str]]:
        return {"gpu": {"g0": "Healthy"}}

    async def keep(self, active: set[str]) -> None:
        self.kept = active


class Node:
    def __init__(self, root: Path) -> None:
        self.unwell: list[set[str]] = []
        self.devices: Any = DriverDevices(
            None,  # type: ignore[arg-type]
            "n",
            root,
            KubeletFolder(root / "kubelet"),
            lambda: {"u"},
            lambda: None,
            self.unwell.append,
        )
        self.claims, self.plugins = Claims(), Plugins()
        self.devices._claims, self.devices.plugins = self.claims, self.plugins


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    yield Node(tmp_path)


ONE = pod("p")
CONTAINER = ONE.spec.containers[0]


async def fault(work: Any) -> tuple[str, str]:
    with pytest.raises(RuntimeFault) as error:
        await work
    return error.value.reason, str(error.value)


async def test_a_pod_without_its_devices_is_not_admitted(node: Node) -> None:
    assert await node.devices.allocate(ONE) is None
    node.plugins.fails = True
    rejection = await node.devices.allocate(ONE)
    assert rejection.reason == "UnexpectedAdmissionError"
    assert rejection.message == "Allocate failed due to there are none, which is unexpected"


@pytest.mark.parametrize(
    ("spec", "prepared"), [({}, []), ({"resourceClaims": [{"name": "c"}]}, ["prepare"])]
)
async def test_claims_are_prepared_where_there_are_some(
    node: Node, spec: dict[str, Any], prepared: list[str]
) -> None:
    await node.devices.prepare(pod("p", **spec))
    assert node.claims.calls == prepared


async def test_a_container_gets_what_claims_and_plugins_name_once(node: Node) -> None:
    node.plugins.made = ContainerEdits(cdi=["x/y=0", "a/b=1"])
    node.claims.names = ["a/b=1", "a/b=2"]
    node.devices.applies_cdi = True
    edits = await node.devices.edits(ONE, CONTAINER)
    assert edits.cdi == ["x/y=0", "a/b=1", "a/b=2"]


async def test_for_a_runtime_that_does_not_read_the_files_they_are_read_here(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(names: list[str]) -> ContainerEdits:
        assert names == ["a/b=1"]
        return ContainerEdits(env={"FROM": "file", "BOTH": "file"})

    monkeypatch.setattr(nodedevices.cdi, "read", read)
    node.plugins.made = ContainerEdits(env={"OWN": "plugin", "BOTH": "plugin"})
    edits = await node.devices.edits(ONE, CONTAINER)
    assert edits.cdi == [] and edits.env == {"FROM": "file", "OWN": "plugin", "BOTH": "file"}
    node.claims.names = []
    node.plugins.made = ContainerEdits(env={"OWN": "plugin"})
    assert (await node.devices.edits(ONE, CONTAINER)).env == {"OWN": "plugin"}


async def test_what_keeps_a_container_from_its_devices_is_told(node: Node) -> None:
    node.claims.fails = True
    told = ("CreateContainerConfigError", "no answer")
    assert await fault(node.devices.edits(ONE, CONTAINER)) == told
    node.plugins.fails = True
    told = ("CreateContainerConfigError", "there are none")
    assert await fault(node.devices.edits(ONE, CONTAINER)) == told


async def test_claims_are_let_go(node: Node) -> None:
    one = pod("p")
    one.metadata.uid = "u"
    await node.devices.release(one)
    assert node.claims.calls == ["release u"]
    node.claims.fails = True
    assert await fault(node.devices.release(one)) == (
        "FailedUnprepareDynamicResources",
        "unprepare dynamic resources: no answer",
    )


async def test_health_is_that_of_plugins_and_of_claims(node: Node) -> None:
    shown = node.devices.health(ONE, CONTAINER)
    assert {label: list(devices) for label, devices in shown.items()} == {
        "gpu": ["g0"],
        "claim:c": ["id"],
    }
    node.claims.fails = True
    assert list(node.devices.health(ONE, CONTAINER)) == ["gpu"]


async def test_the_claims_of_a_container_say_where_their_devices_are(node: Node) -> None:
    class Prepared:
        namespace, name = "default", "c"
        drivers = {"gpu": [Device("gpu/rack/1/d0")]}

    node.claims.held_claims = [Prepared()]
    [held] = node.devices.claims(ONE, CONTAINER)
    assert (held.namespace, held.name) == ("default", "c")
    assert held.devices == (ClaimDevice("gpu", "rack/1", "d0", ("a/b=1",), "s"),)
    node.claims.fails = True
    assert node.devices.claims(ONE, CONTAINER) == []


async def test_housekeeping_gives_back_what_pods_had_that_are_gone(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Any] = []

    async def look(usable: Any) -> None:
        looked.append(usable)

    monkeypatch.setattr(node.devices._slices, "look", look)
    monkeypatch.setattr(node.devices._drivers, "usable", lambda: {"gpu"})
    await node.devices.keep_house()
    assert node.plugins.kept == {"u"} and node.claims.calls == ["reconcile ['u']"]
    assert looked == [{"gpu"}] and node.unwell == []
    monkeypatch.setattr(node.devices._healths, "expire", lambda now: {"gpu/p/d"})
    await node.devices.keep_house()
    assert node.unwell == [{"pod of gpu/p/d"}]


async def test_only_a_change_of_health_is_told(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    for changed in (set(), {"gpu/p/d"}):
        monkeypatch.setattr(node.devices._healths, "take", lambda *_, c=changed: c)
        node.devices._note_health("gpu", [])
    assert node.unwell == [{"pod of gpu/p/d"}]


async def test_plugins_of_another_type_have_their_own_handler(node: Node) -> None:
    mine: Any = object()
    node.devices.take("CSIPlugin", mine)
    assert node.devices._handlers["CSIPlugin"] is mine
    assert set(node.devices._handlers) == {"CSIPlugin", "DevicePlugin", "DRAPlugin"}
