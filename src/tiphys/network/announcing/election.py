"""Which node answers for an address. Pure.

All nodes put themselves in the same order, by what they know of Nodes and endpoints. The first
answers; each other one requests the address now and then, and answers itself once it has received
nothing for long enough, the later in the order the longer. So a node that is gone is replaced
within seconds, though the API server notices much later, and two that know different things settle
it by what they receive.
"""

from __future__ import annotations

import enum
import hashlib
import ipaddress
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tiphys.api import core_v1, discovery_v1
from tiphys.machinery import conditions
from tiphys.network.announcing.frames import Address

_ASKS_EVERY = 1.0  # seconds
_PATIENCE = 3.0  # seconds without a claim until the second in the order answers
_MORE = 2.0  # seconds for each one that is further behind
_CLAIMS = (0.0, 1.0, 2.0)  # seconds after it has started to answer that a node says so
_AGAIN = 30.0  # seconds between the claims after those
_EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"  # label, upstream's

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Wanted(NamedTuple):
    """An address that a node is to answer for, and the nodes that lead it somewhere: None for
    all of them."""

    address: Address
    nodes: frozenset[str] | None


# --- the order ---


def wanted(
    services: Iterable[core_v1.Service],
    slices: Iterable[discovery_v1.EndpointSlice],
    pools: Sequence[Network],
) -> list[Wanted]:
    """The addresses of load balancers in the pools: a client that can write a status claims no
    other address of the network."""
    balanced = [service for service in services if service.spec.type == "LoadBalancer"]
    by_service: dict[str, list[discovery_v1.EndpointSlice]] = {}
    for endpoint_slice in slices if balanced else ():
        name = endpoint_slice.metadata.labels.get("kubernetes.io/service-name", "")
        by_service.setdefault(f"{endpoint_slice.metadata.namespace}/{name}", []).append(
            endpoint_slice
        )
    announced = []
    for service in balanced:
        nodes = None
        if service.spec.external_traffic_policy == "Local":
            key = f"{service.metadata.namespace}/{service.metadata.name}"
            nodes = _with_endpoints(by_service.get(key, ()))
        for row in service.status.load_balancer.ingress:
            address = ipaddress.ip_address(row.ip) if row.ip else None
            is_ours = address is not None and any(address in pool for pool in pools)
            if address is not None and is_ours and row.ip_mode != "Proxy":
                announced.append(Wanted(address, nodes))
    return announced


def _with_endpoints(slices: Iterable[discovery_v1.EndpointSlice]) -> frozenset[str]:
    return frozenset(
        endpoint.node_name
        for endpoint_slice in slices
        for endpoint in endpoint_slice.endpoints
        if endpoint.node_name and endpoint.conditions.ready is not False
    )


def order(want: Wanted, nodes: Iterable[core_v1.Node], network: Network) -> list[str]:
    """The names of the nodes that may answer, by turns. Those are on the address's own network:
    of a node's addresses, the first of its family counts. The order is another for each address,
    and stays as it is for the others when a node comes or goes."""
    names = [node.metadata.name for node in nodes if _may(node, want, network)]
    return sorted(names, key=lambda name: _score(name, want.address))


def _may(node: core_v1.Node, want: Wanted, network: Network) -> bool:
    ready = conditions.find(node.status.conditions, "Ready")
    if ready is None or ready.status != "True" or _EXCLUDED in node.metadata.labels:
        return False
    if want.nodes is not None and node.metadata.name not in want.nodes:
        return False
    own = (row.address for row in node.status.addresses if row.type == "InternalIP")
    return any(ipaddress.ip_address(address) in network for address in own)


def _score(name: str, address: Address) -> bytes:
    return hashlib.sha256(f"{address}/{name}".encode()).digest()


# --- by turns ---


class Say(enum.Enum):
    CLAIM = "claim"
    ASK = "ask"


class Turn:
    """One node's part in one address. `rank` is its place in the order; times are seconds of any
    clock."""

    def __init__(self, rank: int, now: float) -> None:
        self.rank = rank
        self.answers = False
        self._last_claim = now  # when another node claimed the address last
        self._began = 0.0  # when we began to answer
        self._claims = 0  # since then
        self._claimed = self._asked = float("-inf")
        if rank == 0:
            self._begin(now)

    def move(self, rank: int, now: float) -> None:
        """Another place in the order. A node that answers goes on until it receives the claim of
        the one that is first now."""
        if rank == 0 and not self.answers:
            self._begin(now)
        self.rank = rank

    def note_claim(self, now: float) -> None:
        """Another node has claimed the address."""
        self._last_claim = now
        if self.rank:
            self.answers = False
        elif now - self._claimed >= _ASKS_EVERY:
            self._claims = 0  # it is ours: we say so again
            self._began = now

    def say(self, now: float) -> Say | None:
        """What is to be sent now; called several times a second."""
        patience = _PATIENCE + _MORE * (self.rank - 1)
        if not self.answers and now - self._last_claim >= patience:
            self._begin(now)
        if self.answers:
            return self._claim(now)
        if now - self._asked >= _ASKS_EVERY:
            self._asked = now
            return Say.ASK
        return None

    def _begin(self, now: float) -> None:
        self.answers = True
        self._began = now
        self._claims = 0

    def _claim(self, now: float) -> Say | None:
        if self._claims < len(_CLAIMS):
            due = self._began + _CLAIMS[self._claims]
        else:
            due = self._claimed + _AGAIN
        if now < due:
            return None
        self._claims += 1
        self._claimed = now
        return Say.CLAIM
