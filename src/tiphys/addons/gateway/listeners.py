"""Listeners of Gateways: which are valid, what their conditions are, and which routes they let in.

Source: the documentation of Gateway and its listeners' conditions in gateway-api.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tiphys.addons.gateway import GROUP
from tiphys.addons.gateway.model import (
    EVERYTHING,
    Backend,
    Certificate,
    ClientCheck,
    Rule,
    covering,
)
from tiphys.addons.gateway.secrets import (
    CertificateError,
    authorities_of,
    certificate_of,
    names_of,
)
from tiphys.addons.gateway.snapshot import Objects, Route, Verdict
from tiphys.addons.gateway.types.gateways import (
    FrontendTLSValidation,
    Gateway,
    Listener,
    RouteGroupKind,
)
from tiphys.machinery.selectors import from_label_selector

KINDS = {
    "HTTP": ("HTTPRoute", "GRPCRoute"),
    "HTTPS": ("HTTPRoute", "GRPCRoute"),
    "TLS": ("TLSRoute",),
    "TCP": ("TCPRoute",),
}
_FAMILY = {"HTTP": "HTTP", "HTTPS": "TLS", "TLS": "TLS", "TCP": "TCP"}
"""Protocols of one family share a port: host names distinguish them."""


OVERLAPPING = "OverlappingTLSConfig"


@dataclass
class State:
    """A listener on its way. `accepted`, `resolved` and `conflict` are reasons against it; "" where
    there is none.

    `attached` are routes; of HTTP `rules` by host name, of others their backends by host name,
    oldest first.
    """

    gateway: Gateway
    listener: Listener
    kinds: list[str] = field(default_factory=list)
    accepted: str = ""
    resolved: str = ""
    conflict: str = ""
    messages: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, Certificate] = field(default_factory=dict)
    clients: ClientCheck | None = None
    attached: list[Route] = field(default_factory=list)
    rules: dict[str, list[Rule]] = field(default_factory=dict)
    streams: dict[str, list[Backend]] = field(default_factory=dict)
    refused: str = ""  # what Envoy has against its port
    overlap: str = ""  # why its TLS may be another listener's on a connection that is used again

    @property
    def hostname(self) -> str:
        return self.listener.hostname or EVERYTHING

    @property
    def terminates(self) -> bool:
        protocol = self.listener.protocol
        tls = self.listener.tls
        return protocol == "HTTPS" or (
            protocol == "TLS" and tls is not None and tls.mode == "Terminate"
        )

    @property
    def is_served(self) -> bool:
        """A kind of route that it does not know is no reason not to serve the others."""
        return not (self.accepted or self.conflict) and (
            self.resolved in ("", "InvalidRouteKinds") and bool(self.secrets or not self.terminates)
        )

    def supported(self) -> list[RouteGroupKind]:
        return [RouteGroupKind(group=GROUP, kind=kind) for kind in self.kinds]

    def verdicts(self) -> list[Verdict]:
        reasons = self.messages
        accepted = self.accepted or self.conflict
        served = self.is_served and not self.refused
        # By the specification this one is there only while it is true.
        overlap = [Verdict(OVERLAPPING, True, self.overlap, reasons.get(self.overlap, ""))]
        return [
            Verdict("Accepted", not accepted, accepted or "Accepted", reasons.get(accepted, "")),
            Verdict(
                "Programmed",
                served,
                "Programmed" if served else "Invalid",
                "" if served else self.refused or reasons.get(accepted or self.resolved, ""),
            ),
            Verdict(
                "ResolvedRefs",
                not self.resolved,
                self.resolved or "ResolvedRefs",
                reasons.get(self.resolved, ""),
            ),
            Verdict("Conflicted", bool(self.conflict), self.conflict or "NoConflicts"),
            *(overlap if self.overlap else ()),
        ]

    def allows_namespace(self, namespace: str, objects: Objects) -> bool:
        allowed = self.listener.allowed_routes
        rule = allowed.namespaces if allowed is not None else None
        where = rule.from_ if rule is not None else "Same"
        if where == "Selector":
            namespace_object = objects.namespaces.get(namespace)
            selector = from_label_selector(rule.selector if rule is not None else None)
            return (
                namespace_object is not None
                and selector is not None
                and selector.matches(namespace_object.metadata.labels)
            )
        return where == "All" or namespace == self.gateway.metadata.namespace


def states(gateway: Gateway, objects: Objects, unavailable: set[int]) -> list[State]:
    """Of every listener of a Gateway. `unavailable` are ports in use by others."""
    listener_states = [State(gateway, listener) for listener in gateway.spec.listeners]
    for state in listener_states:
        _kinds(state)
        if state.listener.protocol not in KINDS:
            _refuse(
                state, "UnsupportedProtocol", f"protocol {state.listener.protocol} is not served"
            )
        elif state.listener.port in unavailable:
            _refuse(state, "PortUnavailable", f"port {state.listener.port} is somebody else's")
        if state.terminates:
            _certificates(state, objects)
            _client_check(state, objects)
    _conflicts(listener_states)
    _overlaps(listener_states)
    return listener_states


def _refuse(state: State, reason: str, message: str) -> None:
    state.accepted = state.accepted or reason
    state.messages[reason] = message


def _unresolved(state: State, reason: str, message: str) -> None:
    state.resolved = state.resolved or reason
    state.messages.setdefault(reason, message)


def _kinds(state: State) -> None:
    known = KINDS.get(state.listener.protocol, ())
    allowed = state.listener.allowed_routes
    if allowed is None or not allowed.kinds:
        state.kinds = list(known)
        return
    for kind in allowed.kinds:
        if kind.group == GROUP and kind.kind in known:
            state.kinds.append(kind.kind)
        else:
            message = f"{kind.kind} is no kind of route for protocol {state.listener.protocol}"
            _unresolved(state, "InvalidRouteKinds", message)


def _certificates(state: State, objects: Objects) -> None:
    tls = state.listener.tls
    for ref in tls.certificate_refs if tls is not None else ():
        namespace = ref.namespace or state.gateway.metadata.namespace
        key = f"{namespace}/{ref.name}"
        if (ref.group, ref.kind) != ("", "Secret"):
            _unresolved(state, "InvalidCertificateRef", f"{ref.kind} {ref.name} is no Secret")
        elif not objects.permits(state.gateway, "", "Secret", namespace, ref.name):
            _unresolved(
                state,
                "RefNotPermitted",
                f"no ReferenceGrant of {namespace} allows Secret {ref.name}",
            )
        else:
            try:
                state.secrets[key] = certificate_of(objects.secrets.get(key))
            except CertificateError as error:
                _unresolved(state, "InvalidCertificateRef", f"Secret {key} {error}")
    if not state.secrets and not state.resolved:
        _unresolved(state, "InvalidCertificateRef", "it has no certificate")


def _client_check(state: State, objects: Objects) -> None:
    tls = state.gateway.spec.tls
    if tls is None or tls.frontend is None:
        return
    chosen = tls.frontend.default
    for port_config in tls.frontend.per_port:
        if port_config.port == state.listener.port:
            chosen = port_config.tls
    if chosen.validation is not None:
        _authorities(state, objects, chosen.validation)


def _authorities(state: State, objects: Objects, validation: FrontendTLSValidation) -> None:
    """Without any that can be used no client is let in."""
    authorities = []
    for ref in validation.ca_certificate_refs:
        namespace = ref.namespace or state.gateway.metadata.namespace
        key = f"{namespace}/{ref.name}"
        if (ref.group, ref.kind) != ("", "ConfigMap"):
            _unresolved(state, "InvalidCACertificateKind", f"{ref.kind} {ref.name} is no ConfigMap")
        elif not objects.permits(state.gateway, "", "ConfigMap", namespace, ref.name):
            _unresolved(
                state,
                "RefNotPermitted",
                f"no ReferenceGrant of {namespace} allows ConfigMap {ref.name}",
            )
        else:
            try:
                config_map = objects.config_maps.get(key)
                authorities.append(
                    authorities_of(config_map.data.get("ca.crt", "") if config_map else "")
                )
            except CertificateError as error:
                _unresolved(state, "InvalidCACertificateRef", f"ConfigMap {key} {error}")
    if not authorities:
        _refuse(state, "NoValidCACertificate", "no authority for clients' certificates can be used")
        return
    state.clients = ClientCheck("\n".join(authorities), validation.mode == "AllowInsecureFallback")


def _conflicts(states: list[State]) -> None:
    """None of those that conflict wins: none of them is served."""
    families: dict[int, set[str]] = {}
    names: Counter[tuple[int, str]] = Counter()
    known = [one for one in states if one.listener.protocol in KINDS]
    for state in known:
        families.setdefault(state.listener.port, set()).add(_FAMILY[state.listener.protocol])
        names[state.listener.port, state.hostname] += 1
    for state in known:
        port = state.listener.port
        if len(families[port]) > 1:
            state.conflict = "ProtocolConflict"
            state.messages["ProtocolConflict"] = (
                f"listeners of port {port} have different protocols"
            )
        elif names[port, state.hostname] > 1:
            state.conflict = "HostnameConflict"
            state.messages["HostnameConflict"] = (
                f"another listener of port {port} has its host name"
            )


def _overlaps(states: list[State]) -> None:
    """Listeners of a port whose TLS is for the same hosts, by their host names or certificates."""
    by_port: dict[int, list[State]] = {}
    for state in states:
        if _FAMILY.get(state.listener.protocol) == "TLS" and not state.conflict:
            by_port.setdefault(state.listener.port, []).append(state)
    for listeners in by_port.values():
        _overlapping_names(
            listeners, "OverlappingHostnames", [frozenset((one.hostname,)) for one in listeners]
        )
        certified = [
            frozenset().union(*(names_of(one.chain) for one in state.secrets.values()))
            for state in listeners
        ]
        # Of both reasons the specification prefers this one.
        _overlapping_names(listeners, "OverlappingCertificates", certified)


def _overlapping_names(
    listeners: list[State], reason: str, names: Sequence[frozenset[str]]
) -> None:
    """Notes who has a host name of another one, or a wider one. In time that grows with the names:
    two owners of each are enough to notify everybody who shares it."""
    owners: dict[str, list[State]] = {}
    for state, mine in zip(listeners, names, strict=True):
        for name in mine:
            known = owners.setdefault(name, [])
            if len(known) < 2:
                known.append(state)
    for state, mine in zip(listeners, names, strict=True):
        for name in mine:
            for wider in covering(name):
                for other in owners.get(wider, ()):
                    if other is not state:
                        _note_overlap(state, other, reason)
                        _note_overlap(other, state, reason)


def _note_overlap(state: State, other: State, reason: str) -> None:
    state.overlap = reason
    relation = "is" if reason == "OverlappingHostnames" else "has certificates"
    state.messages.setdefault(
        reason, f"listener {other.listener.name} {relation} for the same hosts"
    )
