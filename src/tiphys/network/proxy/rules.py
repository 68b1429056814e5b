"""What the proxy says to the kernel, as values: rules, elements of maps, and pools of endpoints.
`serviceports` makes them, `table` keeps those in force, `wire` writes them.

    svc-…    what comes for a cluster IP
    ext-…    what comes from outside: node ports, external IPs, load balancers' addresses
    all-…    every endpoint of a port whose `ext-` chain keeps to this node
    fw-…     who may not come to a load balancer's address
    hp-…     a host port
    lead     where all of them end: to the endpoint whose number the packet carries
    stuck-N, stick-N-… before that, for services whose clients stay with their endpoint N seconds

Names are digests: no text of a user's reaches the kernel.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass, field
from typing import NamedTuple

from tiphys.network.proxy.endpoints import Endpoint

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SERVICES = "services"  # protocol, address and port → chain
NODE_PORTS = "nodeports"  # protocol and port, at the node's addresses but those of the loopback
HOST_PORTS = "hostports"  # the same, at all of the node's addresses
FIREWALL = "firewall"  # as SERVICES, before them
DEAD = "dead"  # as SERVICES, for what leads nowhere
DEAD_PORTS = "deadports"  # as NODE_PORTS, for what leads nowhere
HAIRPINS = "hairpins"  # a pod that is led to itself

REFUSE = "refuse"  # fixed chains that elements lead to
SILENCE = "silence"
HIDE = "hide"
LEAD = "lead"


class Element(NamedTuple):
    """A key of one of the maps. What a map's keys do not have is empty."""

    map: str
    protocol: str = ""
    address: str = ""
    port: int = 0

    @property
    def dead(self) -> Element:
        """The same where it leads nowhere."""
        return self._replace(map=DEAD if self.map == SERVICES else DEAD_PORTS)


# --- rules ---


@dataclass(frozen=True, slots=True)
class Masquerade:
    """The endpoint sees the node's address, and its answers come back here."""


@dataclass(frozen=True, slots=True)
class MasqueradeNode:
    """The same for what comes from the node itself."""


@dataclass(frozen=True, slots=True)
class MasqueradeFrom:
    network: Network


@dataclass(frozen=True, slots=True)
class PodsGo:
    """What comes from a pod goes on in another chain."""

    chain: str


@dataclass(frozen=True, slots=True)
class NodeGoes:
    """What comes from the node itself does."""

    chain: str


@dataclass(frozen=True, slots=True)
class Accept:
    network: Network


@dataclass(frozen=True, slots=True)
class Drop:
    pass


@dataclass(frozen=True, slots=True)
class Direct:
    """To one endpoint."""

    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Spread:
    """Each new connection to the next endpoint of a pool."""

    pool: str


@dataclass(frozen=True, slots=True)
class Stay:
    """The same, but a client that comes back within so many seconds finds the endpoint it had."""

    pool: str
    seconds: int


@dataclass(frozen=True, slots=True)
class Choose:
    """What `Spread` is once its pool has numbers: the next of them, and on in another chain."""

    first: int
    count: int
    chain: str


@dataclass(frozen=True, slots=True)
class Recall:
    """What `Stay` starts with: whether the client had an endpoint of the pool."""

    pool: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Lead:
    """To the endpoint whose number the packet carries."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """To the endpoint that the client had of the pool whose number the packet carries."""

    seconds: int


@dataclass(frozen=True, slots=True)
class Stick:
    """To the endpoint whose place the packet carries, and the client stays with it. The first
    number of a pool is that of any of its numbers without the last bits, `span` in all."""

    seconds: int
    span: int

    @property
    def chain(self) -> str:
        """The name of its chain."""
        return f"stick-{self.seconds}-{self.span}"


Rule = (
    Masquerade
    | MasqueradeNode
    | MasqueradeFrom
    | PodsGo
    | NodeGoes
    | Accept
    | Drop
    | Direct
    | Spread
    | Stay
    | Choose
    | Recall
    | Lead
    | Stuck
    | Stick
)


def stuck(seconds: int) -> str:
    """The name of the chain for those who come back."""
    return f"stuck-{seconds}"


# --- what belongs together ---


class Flow(NamedTuple):
    """Where UDP comes in; without an address, at any address of the node."""

    address: str
    port: int


@dataclass(frozen=True)
class Part:
    """All that one service, or the host ports of one pod, needs on a node, of one family of
    addresses.

    chains:   name → rules
    elements: key → the chain that it leads to
    pools:    name → endpoints
    sticky:   the pools whose clients stay
    flows:    UDP's ways in, with the endpoints that have flows to keep (UDP has no end)
    """

    chains: dict[str, tuple[Rule, ...]] = field(default_factory=dict)
    elements: dict[Element, str] = field(default_factory=dict)
    pools: dict[str, tuple[Endpoint, ...]] = field(default_factory=dict)
    sticky: set[str] = field(default_factory=set)
    flows: dict[Flow, frozenset[Endpoint]] = field(default_factory=dict)


FIXED = Part(chains={LEAD: (Lead(),)})  # what every table has


def digest(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:16]
