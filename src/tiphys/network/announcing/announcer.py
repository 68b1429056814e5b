"""Claims load balancers' addresses on the networks that this machine's links are in, when it is
this node's turn (`election`), and answers requests for them."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import ipaddress
import json
import logging
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tiphys.api import core_v1, discovery_v1
from tiphys.client.informer import Informer, Informers
from tiphys.network.announcing import frames
from tiphys.network.announcing.election import Network, Say, Turn, order, wanted
from tiphys.network.announcing.frames import Address, AddressMessage
from tiphys.network.pods import NetworkError, run

log = logging.getLogger(__name__)

_TICK = 0.25  # seconds
_LOOK = 30.0  # seconds between scans of the machine's links
_MOST = 64  # frames of a link that are read in one turn of the loop
_LONGEST = 128  # bytes of a frame that are read: no one of ours is longer
_SO_ATTACH_FILTER = 26
_PACKET_ADD_MEMBERSHIP = 1
_SOL_PACKET = 263
_MULTICAST = 0  # PACKET_MR_MULTICAST
_FROM_US = 4  # PACKET_OUTGOING
# Of IPv6 only neighbour discovery: next header 58 (at byte 20 of the frame), type 135 or 136 (54).
_DISCOVERY = (
    (0x30, 0, 0, 20),
    (0x15, 0, 4, 58),
    (0x30, 0, 0, 54),
    (0x15, 1, 0, 135),
    (0x15, 0, 1, 136),
    (0x06, 0, 0, _LONGEST),
    (0x06, 0, 0, 0),
)


class Link(NamedTuple):
    """A link of this machine, and the networks that its neighbours are in."""

    name: str
    mac: bytes
    networks: tuple[Network, ...]

    def has(self, address: Address) -> Network | None:
        """The network that an address is in, when it is one of the link's."""
        return next((network for network in self.networks if address in network), None)


def links() -> list[Link]:
    """Raises NetworkError."""
    usable = []
    for device in json.loads(run("ip", "-j", "addr", "show") or "[]"):
        if device.get("link_type") != "ether" or "UP" not in device.get("flags", ()):
            continue
        networks = tuple(
            network
            for row in device.get("addr_info", ())
            if row.get("scope") == "global"
            for network in [
                ipaddress.ip_network(f"{row['local']}/{row['prefixlen']}", strict=False)
            ]
            if network.prefixlen < network.max_prefixlen
        )
        if networks:
            usable.append(Link(device["ifname"], bytes.fromhex(_bare(device["address"])), networks))
    return usable


def _bare(mac: str) -> str:
    return mac.replace(":", "")


Handler = Callable[
    ["Port", AddressMessage], None
]  # called with each frame that is about an address


class Port:
    """The sockets on one link, of both families."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self._joined: set[Address] = set()
        self._sockets = {kind: self._open(kind) for kind in (frames.ARP, frames.IPV6)}

    def _open(self, kind: int) -> socket.socket:
        # Receives nothing until bound.
        packet_socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        if kind == frames.IPV6:
            _attach(packet_socket, _DISCOVERY)
        packet_socket.setblocking(False)
        packet_socket.bind((self.link.name, kind))
        return packet_socket

    def listen(self, loop: asyncio.AbstractEventLoop, handle: Handler) -> None:
        for packet_socket in self._sockets.values():
            loop.add_reader(packet_socket, self._read, packet_socket, handle)

    def _read(self, packet_socket: socket.socket, handle: Handler) -> None:
        for _ in range(_MOST):
            try:
                frame, sender = packet_socket.recvfrom(_LONGEST)
            except OSError:
                return
            message = frames.read(frame)
            if message is not None and sender[2] != _FROM_US:
                handle(self, message)

    def send(self, frame: bytes) -> None:
        """A frame that does not go out is repeated soon, as the others."""
        kind = int.from_bytes(frame[12:14], "big")
        with contextlib.suppress(OSError):
            self._sockets[kind].send(frame)

    def join(self, address: Address) -> None:
        """Joins the address's multicast group: requests for IPv6 addresses are not broadcast."""
        if address in self._joined or not isinstance(address, ipaddress.IPv6Address):
            return
        self._joined.add(address)
        with contextlib.suppress(OSError):
            index = socket.if_nametoindex(self.link.name)
            request = struct.pack("iHH8s", index, _MULTICAST, 6, frames.group_mac(address))
            self._sockets[frames.IPV6].setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, request)

    def close(self, loop: asyncio.AbstractEventLoop) -> None:
        for packet_socket in self._sockets.values():
            loop.remove_reader(packet_socket)
            packet_socket.close()


def _attach(packet_socket: socket.socket, program: Sequence[tuple[int, int, int, int]]) -> None:
    """Has the kernel filter what a socket receives (classic BPF)."""
    code = b"".join(struct.pack("HBBI", *step) for step in program)
    buffer = ctypes.create_string_buffer(code)
    filter = struct.pack("HL", len(program), ctypes.addressof(buffer))
    packet_socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter)


@dataclass
class _State:
    """Turns by address, and the port that each is on."""

    turns: dict[Address, Turn] = field(default_factory=dict)
    ports: dict[Address, Port] = field(default_factory=dict)


def _none() -> frozenset[Address]:
    return frozenset()


class Announcer:
    """Of the node of a name.

    nodes:    all of them
    pools:    the networks of load balancers' addresses
    withheld: the addresses that this node leads nowhere for now, asked all the time
    """

    def __init__(
        self,
        informers: Informers,
        nodes: Informer[core_v1.Node],
        node: str,
        pools: Sequence[Network],
        withheld: Callable[[], frozenset[Address]] = _none,
    ) -> None:
        self._services = informers.of(core_v1.Service)
        self._slices = informers.of(discovery_v1.EndpointSlice)
        self._nodes = nodes
        self._node = node
        self._pools = pools
        self._ask_withheld = withheld
        self._withheld = withheld()
        self._ports: dict[str, Port] = {}
        self._state = _State()
        self._changed = True

    async def run(self) -> None:
        for informer in (self._services, self._slices, self._nodes):
            await informer.synced.wait()
            informer.on_change(self._note)
        loop = asyncio.get_running_loop()
        looked = float("-inf")
        try:
            while True:
                now = loop.time()
                if now - looked > _LOOK:
                    looked = now
                    await self._look()
                withheld = self._ask_withheld()
                if self._changed or withheld != self._withheld:
                    self._changed = False
                    self._withheld = withheld
                    self._arrange(now)
                self._speak(now)
                await asyncio.sleep(_TICK)
        finally:
            for port in self._ports.values():
                port.close(loop)

    def _note(self, old: object, new: object) -> None:
        self._changed = True

    async def _look(self) -> None:
        """Opens the links there are, where there is anything to say on them."""
        loop = asyncio.get_running_loop()
        try:
            current = {link.name: link for link in await asyncio.to_thread(links)}
        except NetworkError as error:
            log.warning("The machine's links cannot be read: %s", error)
            return
        of_pools = {
            name: link
            for name, link in current.items()
            if any(own.overlaps(pool) for own in link.networks for pool in self._pools)
        }
        for name, port in list(self._ports.items()):
            if of_pools.get(name) != port.link:
                self._ports.pop(name).close(loop)
                self._changed = True
        for name, link in of_pools.items():
            if name not in self._ports:
                with contextlib.suppress(OSError):
                    self._ports[name] = Port(link)
                    self._ports[name].listen(loop, self._received)
                    self._changed = True

    def _arrange(self, now: float) -> None:
        """This node's turns, as things are now; those that it has already go on."""
        state = _State()
        services = self._services if self._ports else ()
        for want in wanted(services, self._slices, self._pools):
            if want.address in self._withheld:
                continue
            for port in self._ports.values():
                network = port.link.has(want.address)
                names = order(want, self._nodes, network) if network is not None else []
                if self._node not in names:
                    continue
                rank = names.index(self._node)
                turn = self._state.turns.get(want.address) or self._new(want.address, rank, now)
                turn.move(rank, now)
                state.turns[want.address] = turn
                state.ports[want.address] = port
                port.join(want.address)
        for address in self._state.turns.keys() - state.turns.keys():
            log.info("%s is announced here no more", address)
        self._state = state

    def _new(self, address: Address, rank: int, now: float) -> Turn:
        log.info("%s is to be announced, by turns: this node's is %d", address, rank)
        return Turn(rank, now)

    def _speak(self, now: float) -> None:
        for address, turn in self._state.turns.items():
            port = self._state.ports[address]
            say = turn.say(now)
            if say is Say.CLAIM:
                port.send(frames.claim(address, port.link.mac))
            elif say is Say.ASK:
                port.send(frames.probe(address, port.link.mac))

    def _received(self, port: Port, message: AddressMessage) -> None:
        turn = self._state.turns.get(message.address)
        if turn is None or self._state.ports[message.address] is not port:
            return
        if message.mac == port.link.mac:
            return
        if message.claims:
            turn.note_claim(asyncio.get_running_loop().time())
        elif turn.answers:
            port.send(frames.answer(message, port.link.mac))
