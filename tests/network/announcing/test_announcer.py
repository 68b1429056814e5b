"""What is announced on which link, and who is answered."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from typing import Any

import pytest

from tests.builders import node
from tests.network.programs import Programs
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.network.announcing import announcer as module
from tiphys.network.announcing import frames
from tiphys.network.announcing.announcer import Announcer, Link, links
from tiphys.network.announcing.frames import AddressMessage
from tiphys.network.pods import NetworkError

POOL = ipaddress.ip_network("192.0.2.64/28")
LAN = ipaddress.ip_network("192.0.2.0/24")
OTHER = ipaddress.ip_network("198.51.100.0/24")
IP = ipaddress.ip_address("192.0.2.65")
MAC, THEIRS = b"\x02" + bytes(5), b"\x04" + bytes(5)
ETH0, ETH1 = Link("eth0", MAC, (LAN,)), Link("eth1", MAC, (OTHER,))


# --- links ---


def device(name: str = "eth0", *addresses: Any, **fields: Any) -> dict[str, Any]:
    rows = [{"scope": "global", "local": ip, "prefixlen": length} for ip, length in addresses]
    shown = {"ifname": name, "link_type": "ether", "flags": ["UP"], "address": "02:00:00:00:00:00"}
    return {**shown, "addr_info": rows, **fields}


@pytest.mark.parametrize(
    ("shown", "found"),
    [
        ([device("eth0", ("192.0.2.7", 24))], [ETH0]),
        ([device("eth0", ("192.0.2.7", 24), ("2001:db8::1", 64))],
         [ETH0._replace(networks=(LAN, ipaddress.ip_network("2001:db8::/64")))]),
        ([device("eth0", ("192.0.2.7", 32))], []),  # nobody else is there
        ([device("eth0")], []),
        ([device("eth0", ("192.0.2.7", 24), link_type="loopback")], []),
        ([device("eth0", ("192.0.2.7", 24), flags=[])], []),
        ([device("eth0", addr_info=[{"scope": "link", "local": "fe80::1", "prefixlen": 64}])], []),
        ([{}], []),
    ],
)  # fmt: skip
def test_links_are_those_with_neighbours(
    monkeypatch: pytest.MonkeyPatch, shown: list[Any], found: list[Link]
) -> None:
    programs = Programs()
    programs.says = {"ip -j addr show": json.dumps(shown)}
    monkeypatch.setattr(module, "run", programs)
    assert links() == found
    programs.says = {}
    assert links() == []


def test_a_link_has_the_addresses_of_its_networks() -> None:
    assert ETH0.has(IP) == LAN and ETH1.has(IP) is None


# --- the announcer ---


class Port:
    """A link on which nothing goes out: what was said there, in short."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.said: list[str] = []
        self.joined: list[Any] = []
        self.hears: Any = None
        self.is_closed = False

    def listen(self, loop: object, hear: Any) -> None:
        self.hears = hear

    def send(self, frame: bytes) -> None:
        kinds = {frames.claim(IP, MAC): "claim", frames.probe(IP, MAC): "probe"}
        self.said.append(kinds.get(frame, "answer"))

    def join(self, address: Any) -> None:
        self.joined.append(address)

    def close(self, loop: object) -> None:
        self.is_closed = True


class Objects(list[Any]):
    def __init__(self, *rows: Any) -> None:
        super().__init__(rows)
        self.synced = asyncio.Event()
        self.synced.set()
        self.listeners: list[Any] = []

    def on_change(self, listener: Any) -> None:
        self.listeners.append(listener)


class World:
    """Nodes n1 and n2, both of whom may answer, a service, and links. The announcer is of `name`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str = "n1") -> None:
        self.links: list[Link] | Exception = [ETH0, ETH1]
        self.made: list[Port] = []
        monkeypatch.setattr(module, "links", self._links)
        monkeypatch.setattr(module, "Port", self._port)
        self.services, self.slices = Objects(balancer()), Objects()
        self.nodes = Objects(ready("n1"), ready("n2"))
        self.withheld: frozenset[Any] = frozenset()
        self.announcer = Announcer(
            self,  # type: ignore[arg-type]
            self.nodes,  # type: ignore[arg-type]
            name,
            (POOL,),
            lambda: self.withheld,
        )

    def of(self, kind: type) -> Objects:
        return self.services if kind is core_v1.Service else self.slices

    def _links(self) -> list[Link]:
        if isinstance(self.links, Exception):
            raise self.links
        return self.links

    def _port(self, link: Link) -> Port:
        self.made.append(Port(link))
        return self.made[-1]

    async def at(self, now: float, look: bool = False) -> list[str]:
        """What is said on the first link in one turn of the loop."""
        before = len(self.made[0].said) if self.made else 0
        if look:
            await self.announcer._look()
        self.announcer._arrange(now)
        self.announcer._speak(now)
        return self.made[0].said[before:] if self.made else []


def balancer(ip: str = str(IP)) -> core_v1.Service:
    made = core_v1.Service(metadata=ObjectMeta(name="web", namespace="default"))
    made.spec.type = "LoadBalancer"
    made.status.load_balancer.ingress = [core_v1.LoadBalancerIngress(ip=ip, ip_mode="VIP")]
    return made


def ready(name: str) -> core_v1.Node:
    made = node(name)
    made.status.conditions = [core_v1.NodeCondition(type="Ready", status="True")]
    made.status.addresses = [core_v1.NodeAddress(type="InternalIP", address="192.0.2.7")]
    return made


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(monkeypatch)
    made.nodes.pop()  # n1 alone is there, and so is first
    return made


async def test_there_is_something_to_say_on_the_links_of_the_pools_alone(world: World) -> None:
    assert await world.at(0, look=True) == ["claim"]
    assert [port.link.name for port in world.made] == ["eth0"]
    assert world.made[0].joined == [IP] and world.made[0].hears is not None


async def test_whose_turn_it_is_not_asks_whether_the_first_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = {}
    for name in ("n1", "n2"):
        world = World(monkeypatch, name)
        said[name] = await world.at(0, look=True)
    assert sorted(said.values()) == [["claim"], ["probe"]], "one of them is first"


@pytest.mark.parametrize("gone", ["service", "node", "ports"])
async def test_what_is_announced_here_no_more_is_left_alone(world: World, gone: str) -> None:
    await world.at(0, look=True)
    if gone == "service":
        world.services.clear()
    elif gone == "node":
        world.nodes.clear()
    else:
        world.links = []
        await world.announcer._look()
        assert world.made[0].is_closed
    assert await world.at(100) == [] and not world.announcer._state.turns


async def test_a_turn_goes_on_though_things_change_around_it(world: World) -> None:
    await world.at(0, look=True)
    turn = world.announcer._state.turns[IP]
    world.services.append(balancer("192.0.2.66"))
    await world.at(1)
    assert world.announcer._state.turns[IP] is turn and len(world.announcer._state.turns) == 2


async def test_links_are_opened_once_and_anew_when_they_are_others(world: World) -> None:
    for _ in range(2):
        await world.at(0, look=True)
    assert len(world.made) == 1
    world.announcer._changed = False
    await world.announcer._look()
    assert not world.announcer._changed, "nothing is new"
    world.links = [ETH0._replace(mac=THEIRS)]
    await world.announcer._look()
    assert [port.is_closed for port in world.made] == [True, False] and world.announcer._changed


async def test_links_that_cannot_be_read_stay_as_they_were(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.at(0, look=True)
    world.links = NetworkError("no ip")
    await world.announcer._look()
    assert (
        not world.made[0].is_closed and "The machine's links cannot be read: no ip" in caplog.text
    )


async def test_a_link_that_cannot_be_opened_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(link: Link) -> Port:
        raise OSError("no right")

    with monkeypatch.context() as patched:
        patched.setattr(module, "Port", refuse)
        await world.announcer._look()
    assert not world.announcer._ports
    await world.announcer._look()
    assert list(world.announcer._ports) == ["eth0"]


def asks(mac: bytes = THEIRS, address: Any = IP) -> AddressMessage:
    return heard(False, mac, address)


def heard(claims: bool, mac: bytes = THEIRS, address: Any = IP) -> AddressMessage:
    return AddressMessage(address, mac, ipaddress.ip_address("192.0.2.9"), claims)


@pytest.mark.parametrize(
    ("one", "on", "answers"),
    [
        (asks(), 0, 1),
        (asks(MAC), 0, 0),  # it is ours
        (asks(address=ipaddress.ip_address("192.0.2.66")), 0, 0),
        (asks(), 1, 0),  # on another link
        (heard(True, MAC), 0, 0),
    ],
)
async def test_who_asks_is_answered(
    world: World, one: AddressMessage, on: int, answers: int
) -> None:
    await world.at(0, look=True)
    ports = [world.made[0], Port(ETH0)]
    before = len(world.made[0].said)
    world.announcer._received(ports[on], one)  # type: ignore[arg-type]
    assert world.made[0].said[before:] == ["answer"] * answers


async def test_whoever_does_not_answer_leaves_it_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("n1", "n2"):
        world = World(monkeypatch, name)
        await world.at(0, look=True)
        turn = world.announcer._state.turns[IP]
        world.announcer._received(world.made[0], asks())  # type: ignore[arg-type]
        assert ("answer" in world.made[0].said) is turn.answers


async def test_a_claim_of_somebody_else_is_noted(world: World) -> None:
    await world.at(0, look=True)
    turn = world.announcer._state.turns[IP]
    times: list[float] = []
    turn.note_claim = times.append  # type: ignore[method-assign]
    world.announcer._received(world.made[0], heard(True))  # type: ignore[arg-type]
    assert len(times) == 1 and abs(times[0] - asyncio.get_running_loop().time()) < 5
    assert "answer" not in world.made[0].said


async def until(check: Any) -> None:
    async with asyncio.timeout(10):
        while not check():  # noqa: ASYNC110 - what a task does has no event
            await asyncio.sleep(0)


async def test_what_this_node_leads_nowhere_for_now_is_left_to_others(world: World) -> None:
    world.services.append(balancer("192.0.2.66"))
    world.announcer._withheld = frozenset((IP,))
    await world.at(0, look=True)
    assert list(world.announcer._state.turns) == [ipaddress.ip_address("192.0.2.66")]


async def test_it_goes_on_until_the_node_stops(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TICK", 0.0)
    task = asyncio.ensure_future(world.announcer.run())
    await until(lambda: world.made and "claim" in world.made[0].said)
    lists = (world.services, world.slices, world.nodes)
    assert [len(one.listeners) for one in lists] == [1, 1, 1]
    for is_withheld in (True, False):
        world.withheld = frozenset((IP,) if is_withheld else ())
        await until(lambda there=not is_withheld: (IP in world.announcer._state.turns) is there)
    world.services.clear()
    world.services.listeners[0](None, None)
    await until(lambda: not world.announcer._state.turns)
    assert len(world.made) == 1, "links are looked at now and then"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.made[0].is_closed


# --- a port ---


class Socket:
    """A raw socket that is given what it hears."""

    def __init__(self, *_: int) -> None:
        self.heard: list[tuple[bytes, int]] = []
        self.sent: list[bytes] = []
        self.options: list[tuple[Any, ...]] = []
        self.bound: Any = None
        self.is_closed = False

    def setblocking(self, flag: bool) -> None:
        assert not flag

    def bind(self, where: Any) -> None:
        self.bound = where

    def setsockopt(self, *option: Any) -> None:
        self.options.append(option)

    def recvfrom(self, size: int) -> tuple[bytes, tuple[Any, ...]]:
        if not self.heard:
            raise BlockingIOError
        frame, kind = self.heard.pop(0)
        return frame[:size], ("eth0", frames.ARP, kind, 1, MAC)

    def send(self, frame: bytes) -> None:
        self.sent.append(frame)

    def close(self) -> None:
        self.is_closed = True


class Loop:
    def __init__(self) -> None:
        self.readers: list[Any] = []

    def add_reader(self, one: Socket, call: Any, *rest: Any) -> None:
        self.readers.append((one, call, rest))

    def remove_reader(self, one: Socket) -> None:
        self.readers = [row for row in self.readers if row[0] is not one]


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A port of a link, and its sockets by what they are for."""
    with monkeypatch.context() as patched:
        patched.setattr(module.socket, "socket", Socket)
        made = module.Port(Link("lo", MAC, (LAN,)))
    return made, made._sockets[frames.ARP], made._sockets[frames.IPV6]


SIX = ipaddress.ip_address("2001:db8::5")


def test_each_version_has_a_socket_and_that_of_ipv6_a_filter(port: Any) -> None:
    _, arp, ipv6 = port
    assert (arp.bound, ipv6.bound) == (("lo", frames.ARP), ("lo", frames.IPV6))
    assert not arp.options and [option[1] for option in ipv6.options] == [26]
    assert len(module._DISCOVERY) == ipv6.options[0][2][0]


def test_a_frame_goes_out_by_its_own_socket(port: Any) -> None:
    made, arp, ipv6 = port
    made.send(frames.claim(IP, MAC))
    made.send(frames.claim(SIX, MAC))
    assert (len(arp.sent), len(ipv6.sent)) == (1, 1)


def test_only_who_asks_for_ipv6_has_to_be_listened_for(port: Any) -> None:
    made, _, ipv6 = port
    for address in (IP, SIX, SIX):
        made.join(address)
    assert [option[:2] for option in ipv6.options[1:]] == [(263, 1)]
    assert ipv6.options[1][2].endswith(frames.group_mac(SIX) + bytes(2))


def test_what_others_say_is_heard_and_what_we_say_is_not(port: Any) -> None:
    made, arp, _ = port
    loop, got = Loop(), []
    made.listen(loop, lambda where, one: got.append((where, one.mac)))
    assert len(loop.readers) == 2
    arp.heard = [(frames.claim(IP, THEIRS), 1), (frames.claim(IP, THEIRS), 4), (b"x", 1)]
    [(_, call, rest)] = [row for row in loop.readers if row[0] is arp]
    call(*rest)
    assert got == [(made, THEIRS)] and not arp.heard
    arp.heard = [(frames.claim(IP, THEIRS), 1)] * 65
    call(*rest)
    assert len(arp.heard) == 1, "the loop has its turn after 64"
    made.close(loop)
    assert not loop.readers and arp.is_closed
