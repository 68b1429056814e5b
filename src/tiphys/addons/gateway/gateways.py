"""Gateway API as ports and sites of the model, with the verdicts on every object."""

from __future__ import annotations

from dataclasses import dataclass, field

from tiphys.addons.addresses import Pool
from tiphys.addons.gateway import CONTROLLER
from tiphys.addons.gateway.attachment import RouteState, attach, owner
from tiphys.addons.gateway.backends import PolicyState, Resolver
from tiphys.addons.gateway.listeners import State, states
from tiphys.addons.gateway.model import (
    EVERYTHING,
    Certificate,
    Host,
    Port,
    Rule,
    Site,
    covering,
    precedence,
    specificity,
)
from tiphys.addons.gateway.snapshot import Objects, Verdict, oldest_first
from tiphys.addons.gateway.types.gateways import Gateway, GatewayClass

_MISDIRECTED = 421
INSECURE = "InsecureFrontendValidationMode"


@dataclass
class GatewayState:
    """A Gateway of ours; without `addresses` it cannot be served."""

    gateway: Gateway
    addresses: list[str]
    listeners: list[State]
    verdicts: list[Verdict]


@dataclass
class Report:
    """Ports and secrets to serve, and the statuses of classes, Gateways, routes and policies."""

    ports: list[Port] = field(default_factory=list)
    secrets: dict[str, Certificate] = field(default_factory=dict)
    classes: list[tuple[GatewayClass, Verdict]] = field(default_factory=list)
    gateways: list[GatewayState] = field(default_factory=list)
    routes: list[RouteState] = field(default_factory=list)
    policies: list[PolicyState] = field(default_factory=list)


def compile_gateways(objects: Objects, pool: Pool, taken: set[tuple[str, int]]) -> Report:
    """`taken` are addresses and ports that Ingresses have."""
    report = Report()
    for gateway_class in objects.gateway_classes:
        if gateway_class.spec.controller_name == CONTROLLER:
            report.classes.append((gateway_class, _class_verdict(gateway_class)))
    ours = {one.metadata.name for one, verdict in report.classes if verdict.ok}
    gateways = oldest_first(one for one in objects.gateways if one.spec.gateway_class_name in ours)
    addresses = pool.assign([(_key(one), _asked(one), _had(one)) for one in gateways])
    by_key: dict[str, list[State]] = {}
    claimed = dict.fromkeys(taken, "")
    for gateway in gateways:
        key = _key(gateway)
        mine = addresses[key]
        unavailable = {
            port
            for (bound_address, port), who in claimed.items()
            if bound_address in mine and who != key
        }
        listeners = states(gateway, objects, unavailable)
        by_key[key] = listeners
        ports = [one.listener.port for one in listeners if not one.accepted]
        claimed |= {(address, port): key for address in mine for port in ports}
        report.gateways.append(GatewayState(gateway, mine, listeners, []))
    resolver = Resolver(objects)
    for route in oldest_first(objects.routes):
        state, _ = attach(route, by_key, objects, resolver)
        report.routes.append(state)
    for gateway_state in report.gateways:
        judge(gateway_state)
        if gateway_state.addresses and gateway_state.verdicts[0].ok:
            _serve(gateway_state, report)
    report.policies = resolver.policies
    return report


def _class_verdict(gateway_class: GatewayClass) -> Verdict:
    if gateway_class.spec.parameters_ref is not None:
        message = "parameters of a class are not read"
        return Verdict("Accepted", False, "InvalidParameters", message)
    return Verdict("Accepted", True, "Accepted")


def _key(gateway: Gateway) -> str:
    return f"{gateway.metadata.namespace}/{gateway.metadata.name}"


def _asked(gateway: Gateway) -> list[str]:
    """The addresses that the spec names; one without a value asks for any."""
    values = [one.value for one in gateway.spec.addresses if one.type == "IPAddress"]
    return [value for value in values if value]


def _had(gateway: Gateway) -> list[str]:
    return [one.value for one in gateway.status.addresses]


# --- conditions ---


def judge(state: GatewayState) -> None:
    """Its conditions, from those of its listeners and its address."""
    accepted = _accepted(state)
    state.verdicts = [accepted, _programmed(state, accepted)]
    if any(one.clients is not None and one.clients.is_optional for one in state.listeners):
        message = "clients without a certificate of the named authorities are let in"
        insecure = Verdict(INSECURE, True, "ConfigurationChanged", message)
        state.verdicts.append(insecure)


def refuse(report: Report, ports: dict[str, str]) -> None:
    """Notes which ports Envoy refuses, by name: what is served there is not programmed."""
    for state in report.gateways:
        for listener_state in state.listeners:
            names = (f"{address}:{listener_state.listener.port}" for address in state.addresses)
            listener_state.refused = next((ports[name] for name in names if name in ports), "")
        judge(state)


def _accepted(state: GatewayState) -> Verdict:
    spec = state.gateway.spec
    if any(one.type != "IPAddress" for one in spec.addresses):
        return Verdict("Accepted", False, "UnsupportedAddress", "only IP addresses are served")
    if spec.infrastructure is not None and spec.infrastructure.parameters_ref is not None:
        return Verdict("Accepted", False, "InvalidParameters", "parameters are not read")
    if spec.tls is not None and spec.tls.backend is not None:
        message = "certificates that a Gateway shows to its backends are not served"
        return Verdict("Accepted", False, "InvalidParameters", message)
    bad = [one for one in state.listeners if one.accepted or one.conflict]
    if not bad:
        return Verdict("Accepted", True, "Accepted")
    names = ", ".join(one.listener.name for one in bad)
    is_any = len(bad) < len(state.listeners)
    return Verdict("Accepted", is_any, "ListenersNotValid", f"not valid: {names}")


def _programmed(state: GatewayState, accepted: Verdict) -> Verdict:
    if not accepted.ok:
        return Verdict("Programmed", False, "Invalid", accepted.message)
    missing = [one for one in _asked(state.gateway) if one not in state.addresses]
    if missing:
        message = f"not ours to give, or another Gateway's: {', '.join(missing)}"
        return Verdict("Programmed", False, "AddressNotUsable", message)
    if not state.addresses:
        return Verdict("Programmed", False, "AddressNotAssigned", "no address is left")
    refused = [one.refused for one in state.listeners if one.refused]
    if refused:
        return Verdict("Programmed", False, "Invalid", refused[0])
    return Verdict("Programmed", True, "Programmed")


# --- serving ---


def _serve(state: GatewayState, report: Report) -> None:
    by_port: dict[int, list[State]] = {}
    for listener_state in state.listeners:
        if listener_state.is_served:
            by_port.setdefault(listener_state.listener.port, []).append(listener_state)
            report.secrets |= listener_state.secrets
    for number, listeners in sorted(by_port.items()):
        sites = _sites(state, listeners)
        if sites:
            report.ports += [Port(address, number, sites) for address in state.addresses]


def _sites(state: GatewayState, listeners: list[State]) -> tuple[Site, ...]:
    protocol = listeners[0].listener.protocol
    name = _key(state.gateway)
    if protocol == "HTTP":
        hosts = [host for one in listeners for host in _hosts(one, listeners)]
        return (Site(name, hosts=tuple(sorted(hosts, key=lambda host: specificity(host.name)))),)
    if protocol == "TCP":
        backends = listeners[0].streams.get(EVERYTHING)
        return (Site(name, backends=tuple(backends)),) if backends else ()
    sites = []
    for listener_state in sorted(listeners, key=lambda one: specificity(one.hostname)):
        site_name = f"{name}/{listener_state.listener.name}"
        if listener_state.listener.protocol == "HTTPS":
            sites.append(_https(site_name, listener_state, listeners))
        else:
            sites.extend(_tls(site_name, listener_state, listeners))
    return tuple(sites)


def _hosts(state: State, listeners: list[State]) -> list[Host]:
    """The hosts of a listener: a rule of a wider name is for what no rule of a narrower one
    matches."""
    mine = {name for name in state.rules if owner(name, listeners) is state}
    hosts = []
    for name in mine | {state.hostname}:
        rules: list[Rule] = []
        for covering_name in covering(name):
            rules += sorted(state.rules.get(covering_name, ()), key=precedence)
        hosts.append(Host(name, tuple(rules)))
    return hosts


def _https(name: str, state: State, listeners: list[State]) -> Site:
    """A request that came over the connection of another host name is misdirected."""
    hosts = _hosts(state, listeners)
    known = {host.name for host in hosts}
    for other in listeners:
        if other is not state and other.hostname not in known:
            hosts.append(Host(other.hostname, status=_MISDIRECTED))
            known.add(other.hostname)
    hosts.sort(key=lambda host: specificity(host.name))
    names = () if state.hostname == EVERYTHING else (state.hostname,)
    return Site(name, names, tuple(state.secrets), tuple(hosts), clients=state.clients)


def _tls(name: str, state: State, listeners: list[State]) -> list[Site]:
    sites = []
    for hostname in sorted(state.streams, key=specificity):
        if owner(hostname, listeners) is not state:
            continue
        names = () if hostname == EVERYTHING else (hostname,)
        secrets = tuple(state.secrets) if state.terminates else ()
        sites.append(
            Site(
                f"{name}/{hostname}",
                names,
                secrets,
                backends=tuple(state.streams[hostname]),
                clients=state.clients,
            )
        )
    return sites
