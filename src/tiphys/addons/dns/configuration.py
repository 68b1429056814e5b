"""An administrator's settings for names, in the two ConfigMaps that Kubernetes documents:
``coredns`` with a Corefile, and ``kube-dns`` with stub domains, both in kube-system. Pure.

Of a Corefile count: which servers resolve which zone (forward), names with addresses of
their own (hosts), and for how long answers are kept (cache). What else kubeadm's has is what this
server does anyway. Directives that it does not carry out are named in `problems`.

Source: "Customizing DNS Service" (kubernetes.io), and CoreDNS' pages of its plugins.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import dns.exception
import dns.name
import msgspec
from dns.name import Name

from tiphys.addons.dns.corefile import CorefileError, Directive, ServerBlock, parse

T = TypeVar("T")

COREFILE = "Corefile"  # the key of the ConfigMap coredns
STUB_DOMAINS, UPSTREAM_SERVERS = "stubDomains", "upstreamNameservers"  # keys of kube-dns
DNS_PORT = 53
LONGEST = 30  # seconds that answers are kept with kubeadm's Corefile (``cache 30``)

_LONGEST_COREFILE = 64 << 10  # characters
_MOST_SERVERS = 15  # for one zone, as CoreDNS
_THIS_MACHINE = "/etc/resolv.conf"
# What this server does in any case, or what concerns the process of CoreDNS alone.
_SETTLED = frozenset(
    (
        *("errors", "health", "ready", "kubernetes", "prometheus", "loop", "reload"),
        *("loadbalance", "log", "bind", "bufsize", "debug", "minimal"),
    )
)
# Of a forward's own block: how CoreDNS keeps its connections.
_SETTLED_OF_FORWARD = frozenset(
    (
        *("max_concurrent", "max_fails", "expire", "health_check", "policy", "prefer_udp"),
        *("max_connect_attempts", "max_idle_conns", "failfast_all_unhealthy_upstreams"),
    )
)


class Server(NamedTuple):
    """An external name server."""

    address: str
    port: int = DNS_PORT


@dataclass(frozen=True)
class Forwarding:
    """The servers for names below `zone`. No servers: those of the machine.

    excepted:  zones below it that are not forwarded
    force_tcp: whatever protocol the client has used
    """

    zone: Name
    servers: tuple[Server, ...] = ()
    excepted: tuple[Name, ...] = ()
    force_tcp: bool = False


@dataclass
class Hosts:
    """Names with addresses, as in /etc/hosts. `fallthrough`: others resolve names that are
    not among them; else those do not exist."""

    zone: Name
    addresses: dict[Name, list[str]] = field(default_factory=dict)
    fallthrough: bool = False
    ttl: int = 3600  # seconds, as CoreDNS' plugin


@dataclass
class Configuration:
    """`forwardings` and `hosts`: the more specific zones first. `longest`: seconds that an answer
    is kept at most, by zone; 0 where none is. `problems` are sentences."""

    forwardings: list[Forwarding] = field(default_factory=list)
    hosts: list[Hosts] = field(default_factory=list)
    longest: dict[Name, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def forwarding(self, name: Name) -> Forwarding:
        """The one of the most specific zone that a name is below."""
        for forwarding in self.forwardings:
            if name.is_subdomain(forwarding.zone):
                return forwarding
        return _MACHINES_OWN

    def seconds_kept(self, name: Name) -> int:
        zones = [zone for zone in self.longest if name.is_subdomain(zone)]
        return self.longest[max(zones, key=len)] if zones else LONGEST


_MACHINES_OWN = Forwarding(dns.name.root)


def read(coredns: Mapping[str, str], kube_dns: Mapping[str, str]) -> Configuration:
    """Out of the data of both ConfigMaps; an empty one changes nothing. What cannot be read becomes
    a problem, and the rest holds."""
    configuration = Configuration()
    _read_corefile(coredns.get(COREFILE, ""), configuration)
    _read_stub_domains(kube_dns, configuration)
    configuration.forwardings.sort(key=lambda forwarding: len(forwarding.zone), reverse=True)
    configuration.hosts.sort(key=lambda hosts: len(hosts.zone), reverse=True)
    return configuration


# --- kube-dns ---


def _read_stub_domains(data: Mapping[str, str], configuration: Configuration) -> None:
    """Its stub domains hold beside those of a Corefile, and its servers in place of the root's."""
    stubs = _json(data, STUB_DOMAINS, dict[str, list[str]], configuration.problems)
    for zone, addresses in (stubs or {}).items():
        _add_forwarding(zone, addresses, configuration, STUB_DOMAINS)
    servers = _json(data, UPSTREAM_SERVERS, list[str], configuration.problems)
    if servers:
        _add_forwarding(".", servers, configuration, UPSTREAM_SERVERS)


def _json(data: Mapping[str, str], key: str, kind: type[T], problems: list[str]) -> T | None:
    text = data.get(key, "")
    if not text:
        return None
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        problems.append(f"{key} cannot be read: {error}")
        return None


def _add_forwarding(
    zone: str, addresses: Iterable[str], configuration: Configuration, origin: str
) -> None:
    try:
        name = _zone(zone)
        servers = tuple(_server(address) for address in addresses)
    except ValueError as error:
        configuration.problems.append(f"{origin}: {error}")
        return
    same_zone = [each for each in configuration.forwardings if each.zone == name]
    for replaced in same_zone:
        configuration.forwardings.remove(replaced)
    configuration.forwardings.append(Forwarding(name, servers))


# --- Corefile ---


def _read_corefile(text: str, configuration: Configuration) -> None:
    if len(text) > _LONGEST_COREFILE:
        configuration.problems.append(f"Corefile: it is longer than {_LONGEST_COREFILE} characters")
        return
    try:
        blocks = parse(text)
    except CorefileError as error:
        configuration.problems.append(f"Corefile: {error}")
        return
    for block in blocks:
        _read_block(block, configuration)


def _read_block(block: ServerBlock, configuration: Configuration) -> None:
    for written in block.zones:
        try:
            zone = _zone(written)
        except ValueError as error:
            configuration.problems.append(f"Corefile: {error}")
            continue
        for directive in block.directives:
            try:
                _read_directive(directive, zone, configuration)
            except ValueError as error:
                configuration.problems.append(f"Corefile: line {directive.line}: {error}")


def _read_directive(directive: Directive, zone: Name, configuration: Configuration) -> None:
    """Raises ValueError."""
    reader = _READERS.get(directive.name)
    if reader is not None:
        reader(directive, zone, configuration)
    elif directive.name not in _SETTLED:
        raise ValueError(f"{directive.name} is not carried out by this server")


def _read_forward(directive: Directive, zone: Name, configuration: Configuration) -> None:
    if len(directive.arguments) < 2:
        raise ValueError("forward needs a zone and a server")
    below, *addresses = directive.arguments
    forwarded = zone if below == "." else _zone(below)
    if len(addresses) > _MOST_SERVERS:
        raise ValueError(f"forward has more than {_MOST_SERVERS} servers")
    servers = tuple(_server(address) for address in addresses if address != _THIS_MACHINE)
    if len(servers) != len(addresses):
        servers = ()  # the machine's own, which come first in upstream's file as well
    excepted: list[Name] = []
    force_tcp = False
    for option in directive.block:
        if option.name == "except":
            excepted += map(_zone, option.arguments)
        elif option.name == "force_tcp":
            force_tcp = True
        elif option.name not in _SETTLED_OF_FORWARD:
            raise ValueError(f"forward's {option.name} is not carried out by this server")
    forwarding = Forwarding(forwarded, servers, tuple(excepted), force_tcp)
    configuration.forwardings.append(forwarding)


def _read_hosts(directive: Directive, zone: Name, configuration: Configuration) -> None:
    """Lines are ``ADDRESS NAME...``, beside options. A file cannot be had: nothing is mounted."""
    if directive.arguments:
        raise ValueError("hosts cannot read a file here; write the names into its block")
    hosts = Hosts(zone)
    for line in directive.block:
        if line.name == "fallthrough":
            hosts.fallthrough = True
        elif line.name == "ttl":
            hosts.ttl = _seconds(line)
        elif line.name not in ("no_reverse", "reload"):
            address = str(ipaddress.ip_address(line.name))
            for name in map(_zone, line.arguments):
                hosts.addresses.setdefault(name, []).append(address)
    configuration.hosts.append(hosts)


def _read_cache(directive: Directive, zone: Name, configuration: Configuration) -> None:
    """``cache [SECONDS] [ZONE...]``; its own block sets how much, and what is prefetched ahead
    of time, which this server decides for itself."""
    seconds = LONGEST
    zones = directive.arguments
    if zones and zones[0].isdecimal():
        seconds = _seconds(directive)
        zones = zones[1:]
    for name in [_zone(each) for each in zones] or [zone]:
        configuration.longest[name] = seconds


_LONGEST_PORT = 5  # digits


_READERS: dict[str, Callable[[Directive, Name, Configuration], None]] = {
    "forward": _read_forward,
    "hosts": _read_hosts,
    "cache": _read_cache,
}


def _seconds(directive: Directive) -> int:
    if len(directive.words) < 2 or not directive.words[1].isdecimal():
        raise ValueError(f"{directive.name} needs a number of seconds")
    return min(int(directive.words[1][:10]), 86400)


def _zone(written: str) -> Name:
    """Of ``example.org``, ``example.org:53``, ``dns://example.org``, or a network whose addresses
    are meant (``10.0.0.0/24``)."""
    text = written.removeprefix("dns://")
    if "://" in text:
        raise ValueError(f"{written!r} is not served over that protocol")
    if "/" in text:
        return _reverse_zone(text)
    host, _, port = text.rpartition(":")
    if host and port.isdecimal():
        text = host
    try:
        return dns.name.from_text(text.lower())
    except dns.exception.DNSException:
        raise ValueError(f"{written!r} is no zone") from None


def _reverse_zone(text: str) -> Name:
    """The zone of a network's addresses, cut to whole labels as CoreDNS does."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is no network") from None
    bits_of_label = 8 if network.version == 4 else 4
    labels = network.network_address.reverse_pointer.split(".")
    kept = network.prefixlen // bits_of_label + 2
    return dns.name.from_text(".".join(labels[-kept:]))


def _server(written: str) -> Server:
    """Of ``192.0.2.1``, ``192.0.2.1:5353`` or ``[2001:db8::1]:53``, behind ``dns://`` perhaps."""
    text = written.removeprefix("dns://")
    if "://" in text:
        raise ValueError(f"{written!r}: only servers without TLS can be asked")
    port = DNS_PORT
    if text.startswith("["):
        text, _, behind = text[1:].partition("]")
        if behind:
            port = _port(behind.removeprefix(":"), written)
    elif text.count(":") == 1:
        text, _, behind = text.partition(":")
        port = _port(behind, written)
    try:
        return Server(str(ipaddress.ip_address(text)), port)
    except ValueError:
        raise ValueError(f"{written!r} is no address of a server") from None


def _port(text: str, written: str) -> int:
    is_number = text.isascii() and text.isdecimal() and len(text) <= _LONGEST_PORT
    if not is_number or not 0 < int(text) < 65536:
        raise ValueError(f"{written!r} has no such port")
    return int(text)
