"""When the tables of services are written, and as what: without a kernel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.builders import node as build_node
from tests.builders import pod as build_pod
from tests.network.attributes import names_of, parsed
from tests.network.builders import endpoint, service, slice_with
from tests.network.informers import Given
from tiphys.api import core_v1, discovery_v1
from tiphys.client.tasks import TaskGroup
from tiphys.network.nft import NftError
from tiphys.network.proxy import service_proxy as module
from tiphys.network.proxy.service_proxy import ProxyNode, ServiceProxy
from tiphys.network.proxy.wire import IPV4


class Kernel:
    """Remembers what it was told, in short; refuses what it is told to."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.refuses: list[str] = []
        self._tables: set[str] = set()

    def script(self, text: str) -> None:
        self._refuse("script")
        made = [line.strip(" {") for line in text.splitlines() if line.startswith("table ")]
        self.told += made
        self._tables |= set(made)

    def transact(self, messages: list[bytes]) -> None:
        self._refuse("transact")
        _, _, family, body = parsed(messages[0])
        if f"table {'ip' if family == IPV4.number else 'ip6'} {body[1]}" not in self._tables:
            raise OSError("there is no such table")
        self.told += [names_of(message) for message in messages]

    def _refuse(self, what: str) -> None:
        if what in self.refuses:
            self.refuses.remove(what)
            raise NftError("refused") if what == "script" else OSError("refused")


class Proxy:
    def __init__(self, pod_cidr: str = "10.1.0.0/16") -> None:
        self.given = Given()
        self.kernel = Kernel()
        node = ProxyNode("n1", (), "t", pod_cidr, "10.96.0.0/16,fd96::/112")
        self.proxy = ServiceProxy(self.given, node, self.kernel)  # type: ignore[arg-type]
        self.services = self.given.of(core_v1.Service)
        self.slices = self.given.of(discovery_v1.EndpointSlice)
        self.services.on_change(self.proxy._service_changed)
        self.slices.on_change(self.proxy._slice_changed)

    async def sync(self) -> list[str]:
        """What the kernel is told by then."""
        self.kernel.told.clear()
        await self.proxy._sync()
        return list(self.kernel.told)

    def count(self, name: str, family: str = "IPv4") -> float:
        registry = self.proxy.metrics.registry
        return registry.get_sample_value(f"kubeproxy_{name}", {"ip_family": family}) or 0


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Proxy:
    monkeypatch.setattr(module, "_route_loopback", lambda addresses: None)
    monkeypatch.setattr(module.flows, "forget", lambda version, selections: None)
    return Proxy()


def backed(*addresses: str) -> discovery_v1.EndpointSlice:
    made = slice_with("s", [endpoint(address) for address in addresses])
    made.address_type = "IPv4"
    return made


async def test_everything_is_written_at_first_and_then_what_changes(proxy: Proxy) -> None:
    proxy.services.put(service())
    first = await proxy.sync()
    assert first[:1] == ["table ip t"] and "elements+ dead" in first
    assert await proxy.sync() == ["chain+ lead"], "it is looked at whether the table is there"
    proxy.slices.put(backed("10.1.0.1"))
    second = await proxy.sync()
    assert "elements+ services" in second and "elements- dead" in second
    assert not any(one.startswith("table") for one in second)
    proxy.services.remove(service())
    assert "elements- services" in await proxy.sync()
    assert proxy.count("sync_full_proxy_rules_duration_seconds_count") == 1
    assert proxy.count("sync_partial_proxy_rules_duration_seconds_count") == 3


async def test_each_version_of_ip_that_pods_have_is_written() -> None:
    both = Proxy("10.1.0.0/16,fd01::/64")
    assert [one for one in await both.sync() if one.startswith("table")] == [
        "table ip t",
        "table ip6 t",
    ]
    six = Proxy("fd01::/64")
    assert [one for one in await six.sync() if one.startswith("table")] == ["table ip6 t"]


async def test_what_is_refused_is_written_again_as_a_whole(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.0)
    await proxy.sync()
    proxy.services.put(service())
    proxy.kernel.refuses = ["transact"]
    assert [one for one in await proxy.sync() if one.startswith("table")] == ["table ip t-2"]
    assert "A change was refused, the whole table is written again: refused" in caplog.text
    proxy.services.put(service(ip="10.96.0.10"))
    proxy.kernel.refuses = ["transact", "script", "script"]
    assert [one for one in await proxy.sync() if one.startswith("table")] == ["table ip t"]
    assert caplog.text.count("The table of services could not be written: refused") == 2
    assert proxy.count("sync_proxy_rules_nftables_sync_failures_total") == 4


# --- what makes it look again ---


def is_woken(proxy: Proxy) -> bool:
    woken = proxy.proxy._changed.is_set()
    proxy.proxy._changed.clear()
    return woken


def with_port(host_port: int = 8080, address: str = "10.1.0.5") -> core_v1.Pod:
    ports = [{"containerPort": 80, "hostPort": host_port, "protocol": "TCP"}] if host_port else []
    made = build_pod("p", containers=[{"name": "c", "image": "i", "ports": ports}])
    made.metadata.uid, made.status.pod_ip, made.status.phase = "u", address, "Running"
    made.status.pod_ips = [core_v1.PodIP(ip=address)]
    return made


async def test_a_pods_host_ports_come_change_and_go(proxy: Proxy) -> None:
    await proxy.sync()
    steps = [
        (None, with_port(), True),
        (with_port(), with_port(), False),
        (with_port(), with_port(8081), True),
        (with_port(8081), None, True),
        (with_port(8081), None, False),
        (None, with_port(0), False),
        (None, None, False),
    ]
    for old, new, wakes in steps:
        proxy.proxy.pod_changed(old, new)
        assert is_woken(proxy) is wakes
    proxy.proxy.pod_changed(None, with_port())
    assert "elements+ hostports" in await proxy.sync()
    proxy.proxy.pod_changed(with_port(), None)
    assert "elements- hostports" in await proxy.sync()


async def test_a_service_goes_before_a_host_port() -> None:
    assert module._rank("d/s") < module._rank("~uid")


async def test_another_zone_makes_every_service_another(proxy: Proxy) -> None:
    proxy.services.put(service())
    await proxy.sync()
    zone = {"topology.kubernetes.io/zone": "z"}
    node = build_node("n1")
    proxy.proxy.node_changed(None, node)
    assert not is_woken(proxy) and proxy.proxy.health.node is node
    moved = build_node("n1")
    moved.metadata.labels |= zone
    proxy.proxy.node_changed(node, moved)
    assert is_woken(proxy) and proxy.proxy._dirty == {"d/s"} and proxy.proxy._place.zone == "z"
    proxy.proxy.node_changed(moved, moved)
    proxy.proxy.node_changed(moved, None)
    assert not is_woken(proxy) and proxy.proxy._place.zone == "z", "a node that is gone is nowhere"
    assert proxy.proxy.health.node is None


async def test_both_services_of_a_slice_that_moves_are_looked_at(proxy: Proxy) -> None:
    first = backed("10.1.0.1")
    proxy.slices.put(first)
    moved = backed("10.1.0.1")
    moved.metadata.labels = {"kubernetes.io/service-name": "other"}
    proxy.proxy._dirty.clear()
    proxy.slices.put(moved)
    assert proxy.proxy._dirty == {"d/s", "d/other"} and is_woken(proxy)


async def test_nothing_changed_is_nothing(proxy: Proxy) -> None:
    proxy.proxy._service_changed(None, None)
    assert not is_woken(proxy) and not proxy.proxy._dirty


async def test_flows_to_what_is_gone_are_forgotten(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten: list[Any] = []
    monkeypatch.setattr(
        module.flows, "forget", lambda version, selections: forgotten.append((version, selections))
    )
    dns = service(ports=[core_v1.ServicePort(name="http", port=53, protocol="UDP")])
    made = backed("10.1.0.1")
    for port in made.ports:
        port.protocol = "UDP"
    proxy.services.put(dns)
    proxy.slices.put(made)
    await proxy.sync()
    forgotten.clear()
    await proxy.sync()
    assert not forgotten
    proxy.slices.remove(made)
    await proxy.sync()
    [(version, selections)] = forgotten
    assert version == 4 and selections[0][:4] == ("-p", "udp", "--orig-dst", "10.96.0.9")


async def test_health_is_good_when_nothing_waits(proxy: Proxy) -> None:
    proxy.services.put(service())
    await proxy.sync()
    assert proxy.proxy.health.is_healthy()


async def test_packets_from_the_loopback_go_out_where_pods_have_host_ports(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    routed: list[set[str]] = []
    monkeypatch.setattr(module, "_route_loopback", routed.append)
    await proxy.sync()
    assert routed == []
    proxy.proxy.pod_changed(None, with_port())
    await proxy.sync()
    assert routed == [{"10.1.0.5"}]


ROUTES = (
    "Iface Destination Gateway\n"
    "veth1 0500010A 00000000 0001\n"
    "veth2 0600010A 00000000 0001\n"
    "eth0 00000000 0101A8C0 0003\n"
)


def test_the_links_of_pods_are_those_that_routes_lead_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path
    (root / "proc/net").mkdir(parents=True)
    (root / "proc/net/route").write_text(ROUTES)
    for link in ("veth1", "veth2", "eth0"):
        (root / f"proc/sys/net/ipv4/conf/{link}").mkdir(parents=True)
        (root / f"proc/sys/net/ipv4/conf/{link}/route_localnet").write_text("0")
    monkeypatch.setattr(
        module, "Path", lambda *parts: root.joinpath(*(p.lstrip("/") for p in parts))
    )
    module._route_loopback({"10.1.0.5", "10.1.0.9"})
    values = {
        file.parent.name: file.read_text()
        for file in (root / "proc/sys/net/ipv4/conf").glob("*/route_localnet")
    }
    assert values == {"veth1": "1", "veth2": "0", "eth0": "0"}
    module._track_connections()  # there is no connection tracking
    (root / "proc/sys/net/netfilter").mkdir()
    module._track_connections()
    written = root / "proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close_wait"
    assert written.read_text() == "3600"


# --- the loop ---


@pytest.fixture
async def running(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Proxy]:
    monkeypatch.setattr(module, "_BATCH_SECONDS", 0.0)
    monkeypatch.setattr(module, "_track_connections", lambda: None)

    class Server:
        async def cleanup(self) -> None: ...

    async def serve(*_: Any) -> Server:
        return Server()

    monkeypatch.setattr(module, "serve", serve)
    monkeypatch.setattr(module, "serve_metrics", serve)
    tasks = TaskGroup("proxy")
    tasks.start(proxy.proxy.run(), "proxy")
    yield proxy
    await tasks.stop()


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not check():  # noqa: ASYNC110 - a list that a thread fills
            await asyncio.sleep(0.001)


async def test_it_writes_when_something_changes(running: Proxy) -> None:
    await until(lambda: "table ip t" in running.kernel.told)
    running.services.put(service())
    await until(lambda: "elements+ dead" in running.kernel.told)


async def test_it_looks_at_the_table_now_and_then(
    running: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHECK_SECONDS", 0.0)
    await until(lambda: running.kernel.told.count("chain+ lead") > 2)


async def test_its_tables_can_be_taken_away(proxy: Proxy) -> None:
    proxy.kernel.refuses = ["script"]
    proxy.proxy.remove()
    removed: list[str] = []
    proxy.kernel.script = removed.append  # type: ignore[method-assign]
    proxy.proxy.remove()
    assert removed == [f"add table ip {one}\ndelete table ip {one}\n" for one in ("t", "t-2")]
