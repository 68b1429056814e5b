"""A node that was cut off from the cluster is back as soon as its network is."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.builders import pod
from tiphys.api import coordination_v1, core_v1
from tiphys.client.client import Client, Unreachable
from tiphys.client.config import load
from tiphys.machinery.errors import StatusError, already_exists, forbidden, not_found
from tiphys.node.abilities import HandlerAbilities, RuntimeAbilities
from tiphys.node.devices.deviceresources import Count
from tiphys.node.registration import REPORT, NodeFacts, Registration, _Heart, node_conditions
from tiphys.testing import LocalCluster

BEAT = 1.0  # seconds: no answer is waited for any longer, so a busy machine must do with it
SOON = 60.0  # seconds: far from the five minutes after which a node reports without any reason


class Link:
    """A way to a server that can be cut: what is on it then stays unanswered for ever, what comes
    waits."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._open = asyncio.Event()
        self._open.set()
        self._cuts = 0
        self.tried_anew = asyncio.Event()  # somebody waits no longer on what was cut
        self.refuses = False

    def cut(self) -> None:
        self._cuts += 1
        self._open.clear()

    def mend(self) -> None:
        self._open.set()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuses:
            self.tried_anew.set()
            return writer.close()
        with contextlib.suppress(asyncio.CancelledError, OSError):
            if not self._open.is_set():
                self.tried_anew.set()
            await self._open.wait()
            there, back = await asyncio.open_connection(*self._target)
            await asyncio.gather(self._one_way(reader, back), self._one_way(there, writer))

    async def _one_way(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        cuts = self._cuts
        while data := await source.read(65536):
            if cuts == self._cuts:
                sink.write(data)
                await sink.drain()
        sink.close()


def to(server: LocalCluster) -> Link:
    parts = urlsplit(server.url)
    assert parts.hostname and parts.port
    return Link(parts.hostname, parts.port)


@contextlib.asynccontextmanager
async def over(link: Link, server: LocalCluster) -> AsyncIterator[Registration]:
    """A node whose way to the server is the link."""
    listening = await asyncio.start_server(link.carry, "127.0.0.1", 0)
    config = load(server.kubeconfig())
    config.server = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with Client(config) as client:
        facts = NodeFacts("n", ("10.0.0.1", "fd00::1"), 10250, "hollow://1", {"cpu": "1"})
        yield Registration(client, facts, {})
        listening.close()


@pytest.fixture
async def link(server: LocalCluster) -> AsyncIterator[tuple[Link, Registration]]:
    """The way that a node's heart beats on."""
    link = to(server)
    async with over(link, server) as node:
        await node.register()

        async def well() -> tuple[bool, str]:
            return True, ""

        beating = asyncio.create_task(node.run(well, BEAT))
        yield link, node
        beating.cancel()


async def given_up(server: LocalCluster) -> core_v1.Node:
    """What the node lifecycle controller writes of a node that it does not hear of."""
    node = await server.client.get(core_v1.Node, "n")
    for condition in node.status.conditions:
        condition.status, condition.reason = "Unknown", "NodeStatusUnknown"
    return await server.client.update_status(node)


async def is_ready(server: LocalCluster) -> bool:
    node = await server.client.get(core_v1.Node, "n")
    return {c.type: c.status for c in node.status.conditions}["Ready"] == "True"


async def test_a_node_is_ready_as_soon_as_the_network_is_back(
    server: LocalCluster, link: tuple[Link, Registration]
) -> None:
    way, _ = link
    way.cut()
    await asyncio.wait_for(way.tried_anew.wait(), SOON)
    await given_up(server)
    assert not await is_ready(server)
    way.mend()
    await server.eventually(lambda: is_ready(server), seconds=SOON)


async def test_a_node_that_sees_itself_taken_for_dead_says_that_it_is_not(
    server: LocalCluster, link: tuple[Link, Registration]
) -> None:
    _, node = link
    node.node_changed(None, await given_up(server))
    await server.eventually(lambda: is_ready(server), seconds=SOON)


async def test_a_node_whose_object_was_deleted_registers_again_at_once(
    server: LocalCluster, link: tuple[Link, Registration]
) -> None:
    _, node = link
    before = await server.client.get(core_v1.Node, "n")
    await server.client.delete(core_v1.Node, "n")
    node.node_changed(before, None)

    async def is_another() -> bool:
        found = (await server.client.list(core_v1.Node)).items
        return [one.metadata.uid for one in found] not in ([], [before.metadata.uid])

    await server.eventually(is_another, seconds=SOON)


async def test_a_node_registers_as_soon_as_a_server_answers(server: LocalCluster) -> None:
    way = to(server)
    way.refuses = True
    async with over(way, server) as node, asyncio.TaskGroup() as group:
        with pytest.raises(Unreachable):
            await node.register()
        way.tried_anew.clear()
        group.create_task(node.register_when_reachable())
        await way.tried_anew.wait()
        way.refuses = False
    assert (await server.client.get(core_v1.Node, "n")).metadata.name == "n"


async def test_the_lease_is_renewed_also_when_somebody_else_has_written_it(
    server: LocalCluster,
) -> None:
    async with over(to(server), server) as node:
        await node.register()

        async def renewed() -> coordination_v1.Lease:
            await node.beat()
            return await server.client.get(coordination_v1.Lease, "n", "kube-node-lease")

        first, second = await renewed(), await renewed()
        assert first.spec.renew_time < second.spec.renew_time and second.spec.holder_identity == "n"
        second.metadata.labels = {"a": "b"}
        await server.client.update(second)
        with pytest.raises(StatusError, match="has been modified"):
            await node.beat()
        assert (await renewed()).spec.renew_time > second.spec.renew_time
        await server.client.delete(coordination_v1.Lease, "n", "kube-node-lease")
        with contextlib.suppress(StatusError):
            await node.beat()
        assert (await renewed()).metadata.uid != second.metadata.uid


async def test_a_report_that_is_wanted_waits_while_heartbeats_are_refused(
    server: LocalCluster,
) -> None:
    """Without a pause they were hundreds a second."""
    async with over(to(server), server) as node:
        await node.register()
        beats = 0

        async def refused() -> None:
            nonlocal beats
            beats += 1
            raise forbidden("leases", "n", "for a while")

        node.beat = refused  # type: ignore[method-assign]
        node.report_soon()
        running = asyncio.create_task(node.run(lambda: asyncio.sleep(0, (True, "")), BEAT))
        await server.eventually(lambda: beats >= 4)
        before = asyncio.get_running_loop().time()
        await server.eventually(lambda: beats >= 6)
        assert asyncio.get_running_loop().time() - before > BEAT / 2
        running.cancel()


def test_nodes_that_came_together_do_not_report_together(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    hearts = [_Heart([], BEAT) for _ in range(200)]

    def due() -> int:
        return sum(heart.must_report(True) for heart in hearts)

    now += REPORT / 2
    assert due() == 0
    now += REPORT / 2
    assert 50 < due() < 150
    now += REPORT / 2 + 1
    assert due() == 200
    hearts[0].reported(True)
    assert due() == 199


async def test_answers_that_came_while_the_node_stood_still_are_read_first(
    server: LocalCluster,
) -> None:
    client = server.client
    heart = _Heart([client], 0.05)

    others: list[asyncio.Task[bytes]] = []

    async def stall() -> None:
        client._answered_at -= 60
        others.append(asyncio.create_task(client.request("GET", "/readyz")))
        time.sleep(0.2)  # noqa: ASYNC251 - the whole loop stands still
        await asyncio.sleep(60)

    await client.request("GET", "/readyz")
    with pytest.raises(Unreachable):
        await heart.within(stall())
    assert client._session is not None and await others[0]
    client._answered_at -= 60
    with pytest.raises(Unreachable):
        await heart.within(asyncio.sleep(60))
    assert client._session is None


EARLIER = "2020-01-01T00:00:00Z"


async def test_devices_that_are_not_well_are_capacity_and_not_allocatable(
    server: LocalCluster,
) -> None:
    facts = NodeFacts("m", "10.0.0.1", 10250, "hollow://1", {"cpu": "1"})
    node = Registration(server.client, facts, {})
    node.devices = lambda: {"example.com/it": Count(3, 2)}
    await node.register()
    stored = (await server.client.get(core_v1.Node, "m")).status
    assert (stored.capacity["example.com/it"], stored.allocatable["example.com/it"]) == ("3", "2")
    node.devices = lambda: {"example.com/it": Count(0, 0)}
    stored = (await node.report(True)).status
    assert stored.capacity == stored.allocatable == {"cpu": "1", "example.com/it": "0"}


def condition(kind: str, status: str) -> core_v1.NodeCondition:
    return core_v1.NodeCondition(type=kind, status=status, last_transition_time=EARLIER)


@pytest.mark.parametrize(
    ("before", "ready", "changed"),
    [
        ("True", True, False),
        ("True", False, True),
        ("Unknown", True, True),
        ("False", False, False),
    ],
)
def test_a_transition_time_changes_with_the_status_alone(
    before: str, ready: bool, changed: bool
) -> None:
    made = node_conditions([condition("Ready", before)], ready, "runtime is down", now=60.0)
    [now] = [one for one in made if one.type == "Ready"]
    assert now.last_transition_time == ("1970-01-01T00:01:00Z" if changed else EARLIER)
    assert now.last_heartbeat_time == "1970-01-01T00:01:00Z"
    assert (now.status, now.message) == (
        ("True", "kubelet is posting ready status") if ready else ("False", "runtime is down")
    )


def test_conditions_of_others_stay() -> None:
    made = node_conditions([condition("NetworkUnavailable", "False")], True, "", now=60.0)
    assert [one.type for one in made] == [
        "NetworkUnavailable",
        "MemoryPressure",
        "DiskPressure",
        "PIDPressure",
        "Ready",
    ]
    assert made[0].last_transition_time == EARLIER


# --- what a node says of itself ---


class Cluster:
    """Keeps the node that is written to it. `refuses`: what creation answers."""

    def __init__(self, there: core_v1.Node | None = None) -> None:
        self.node = there
        self.refuses: Exception | None = None
        self.patched: list[Any] = []
        self.leases: list[Any] = []

    async def create(self, made: core_v1.Node) -> core_v1.Node:
        if self.refuses is not None:
            raise self.refuses
        if self.node is not None:
            raise already_exists("nodes", "n")
        self.node = made
        return made

    async def get(self, kind: Any, name: str, namespace: str = "") -> Any:
        if kind is coordination_v1.Lease:
            if not self.leases:
                raise not_found("leases", name)
            return self.leases[-1]
        if self.node is None:
            raise not_found("nodes", name)
        return self.node

    async def patch(self, kind: Any, name: str, change: Any) -> None:
        self.patched.append(change)

    async def update_status(self, changed: core_v1.Node) -> core_v1.Node:
        self.node = changed
        return changed

    async def update(self, lease: Any) -> Any:
        self.leases.append(lease)
        return lease


def registration(
    cluster: Cluster, labels: dict[str, str] | None = None, **more: Any
) -> Registration:
    facts = NodeFacts(
        "n", ("10.0.0.1", "fd00::1"), 10250, "hollow://1", {"cpu": "2", "pods": "9"}, **more
    )
    return Registration(cluster, facts, labels or {})  # type: ignore[arg-type]


async def test_a_new_node_says_what_it_has() -> None:
    cluster = Cluster()
    taint = core_v1.Taint(key="a", effect="NoSchedule")
    handlers = {"runc": HandlerAbilities(True, False)}
    made = registration(
        cluster,
        {"mine": "x"},
        pod_cidr="10.1.0.0/24,fd00:1::/64",
        allocatable={"cpu": "1"},
        taints=(taint,),
        provider_id="cloud://n",
        abilities=RuntimeAbilities(handlers, strict_groups=False),
    )
    made.images = [([f"i{n}"], n) for n in range(60)]
    made.volumes_in_use = lambda: ["v"]
    made.devices = lambda: {"gpu": Count(4, 3)}
    made.pressures = ("DiskPressure",)
    node = await made.register()
    assert made.node is node and node.metadata.labels["mine"] == "x"
    assert node.metadata.labels["kubernetes.io/hostname"] == "n"
    spec = node.spec
    assert (spec.pod_cidr, spec.pod_cidrs) == ("10.1.0.0/24", ["10.1.0.0/24", "fd00:1::/64"])
    assert (spec.taints, spec.provider_id) == ([taint], "cloud://n")
    status = node.status
    assert status.capacity == {"cpu": "2", "pods": "9", "gpu": "4"}
    assert status.allocatable == {"cpu": "1", "pods": "9", "gpu": "3"}
    assert [(each.type, each.address) for each in status.addresses] == [
        ("InternalIP", "10.0.0.1"),
        ("InternalIP", "fd00::1"),
        ("Hostname", "n"),
    ]
    assert [each.size_bytes for each in status.images] == list(range(59, 9, -1)), "the largest"
    assert status.volumes_in_use == ["v"]
    [handler] = status.runtime_handlers
    assert handler.features is not None and handler.features.recursive_read_only_mounts
    assert not handler.features.user_namespaces
    assert status.features is not None and status.features.supplemental_groups_policy is False
    states = {each.type: each.status for each in status.conditions}
    assert states["Ready"] == "True" and states["DiskPressure"] == "True"
    assert states["MemoryPressure"] == "False"
    endpoint = status.daemon_endpoints.kubelet_endpoint if status.daemon_endpoints else None
    assert endpoint is not None and endpoint.port == 10250


async def test_a_node_that_nobody_knows_the_groups_of_says_nothing_of_them() -> None:
    node = await registration(Cluster()).register()
    assert (
        node.status.features is None
        and node.spec.pod_cidr == ""
        and node.status.volumes_in_use == []
    )


@pytest.mark.parametrize(("labels", "patched"), [({}, 0), ({"mine": "x"}, 1)])
async def test_a_node_that_is_there_is_brought_up_to_date(
    labels: dict[str, str], patched: int
) -> None:
    first = Cluster()
    await registration(first).register()
    assert first.node is not None
    first.node.status.capacity = {"theirs": "3", "cpu": "1"}  # type: ignore[dict-item]
    node = await registration(first, labels).register()
    assert len(first.patched) == patched
    assert node.status.capacity == {"theirs": "3", "cpu": "2", "pods": "9"}


async def test_a_registration_that_is_refused_is_an_error() -> None:
    cluster = Cluster()
    cluster.refuses = not_found("namespaces", "x")
    with pytest.raises(StatusError):
        await registration(cluster).register()
    with pytest.raises(StatusError):
        await registration(cluster).register_when_reachable()


@pytest.mark.parametrize(
    ("ready", "capacity", "reported"),
    [
        ("True", {}, False),
        ("False", {}, False),
        ("Unknown", {}, True),
        ("True", {"cpu": "7"}, True),
        (None, {}, False),
    ],
)
async def test_what_others_write_of_a_node_is_answered_where_it_is_wrong(
    ready: str | None, capacity: dict[str, str], reported: bool
) -> None:
    made = registration(Cluster())
    node = await made.register()
    states = [core_v1.NodeCondition(type="Ready", status=ready)] if ready else []
    node.status.conditions = states
    node.status.allocatable = {**node.status.allocatable, **capacity}  # type: ignore[dict-item]
    made.node_changed(None, node)
    assert made._report_wanted.is_set() is reported and made.node is node
    made._report_wanted.clear()
    made.node_changed(node, None)
    assert made._report_wanted.is_set(), "it registers again"


def test_pressures_are_reported_when_they_change() -> None:
    made = registration(Cluster())
    made.show_pressures(())
    assert not made._report_wanted.is_set()
    made.show_pressures(("PIDPressure",))
    assert made._report_wanted.is_set() and made.pressures == ("PIDPressure",)
    made._report_wanted.clear()
    made.show_pressures(("PIDPressure",))
    assert not made._report_wanted.is_set()
    made.report_soon()
    assert made._report_wanted.is_set()


AFFINITY = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]
        }
    }
}


@pytest.mark.parametrize(
    ("spec", "known", "now", "suits"),
    [
        ({}, {}, {}, True),
        ({"nodeSelector": {"a": "b"}}, {"a": "b"}, {}, True),
        ({"nodeSelector": {"a": "b"}}, {}, {"a": "b"}, True),
        ({"nodeSelector": {"a": "b"}}, {}, {}, False),
        ({"affinity": AFFINITY}, {"a": "x"}, {}, True),
        ({"affinity": AFFINITY}, {}, {}, False),
        ({"affinity": {"podAffinity": {}}}, {}, {}, True),
    ],
)
async def test_a_pod_suits_the_labels_as_they_are_now(
    spec: dict[str, Any], known: dict[str, str], now: dict[str, str], suits: bool
) -> None:
    cluster = Cluster()
    made = registration(cluster)
    made._node.metadata.labels = known
    cluster.node = core_v1.Node()
    cluster.node.metadata.labels = now
    assert await made.suits(pod(**spec).spec) is suits


async def test_a_heartbeat_is_a_lease_that_the_node_owns() -> None:
    cluster = Cluster()
    made = registration(cluster)
    node = await made.register()
    node.metadata.uid = made._uid = "u"
    await made.beat()
    [lease] = cluster.leases
    assert (lease.metadata.namespace, lease.metadata.name) == ("kube-node-lease", "n")
    assert (lease.spec.holder_identity, lease.spec.lease_duration_seconds) == ("n", 40)
    assert [(one.kind, one.name, one.uid) for one in lease.metadata.owner_references] == [
        ("Node", "n", "u")
    ]
    assert lease.spec.renew_time
