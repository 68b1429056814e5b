"""Ingress v1 as sites: hosts, paths and certificates of every Ingress of our classes, together at
two ports.

Source of the rules: the documentation of Ingress (path types, wildcards of one label, the default
backend).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tiphys.addons.gateway import CONTROLLER
from tiphys.addons.gateway.model import (
    EVERYTHING,
    Backend,
    Certificate,
    Host,
    Match,
    PathMatch,
    Port,
    Rule,
    Site,
    Target,
    precedence,
    specificity,
)
from tiphys.addons.gateway.secrets import CertificateError, certificate_of
from tiphys.api import core_v1, networking_v1

_IS_DEFAULT = "ingressclass.kubernetes.io/is-default-class"
_ANNOTATION = "kubernetes.io/ingress.class"  # of the time before classes were objects
_H2C = ("kubernetes.io/h2c", "grpc")


@dataclass
class Compiled:
    """`ours` are the Ingresses that are served; `events` are (Ingress, reason, message) of what
    cannot be."""

    ports: list[Port] = field(default_factory=list)
    secrets: dict[str, Certificate] = field(default_factory=dict)
    ours: list[networking_v1.Ingress] = field(default_factory=list)
    events: list[tuple[networking_v1.Ingress, str, str]] = field(default_factory=list)


def is_ours(
    ingress: networking_v1.Ingress, classes: Mapping[str, networking_v1.IngressClass]
) -> bool:
    """By its class, by the old annotation, or because it names none and ours is the default."""
    name = ingress.spec.ingress_class_name or ingress.metadata.annotations.get(_ANNOTATION)
    if name:
        ingress_class = classes.get(name)
        return ingress_class is not None and ingress_class.spec.controller == CONTROLLER
    defaults = [
        one for one in classes.values() if one.metadata.annotations.get(_IS_DEFAULT) == "true"
    ]
    defaults.sort(key=lambda one: (one.metadata.creation_timestamp or "", one.metadata.name))
    return bool(defaults) and defaults[-1].spec.controller == CONTROLLER  # the newest one counts


def compile_ingresses(
    ingresses: Iterable[networking_v1.Ingress],
    classes: Mapping[str, networking_v1.IngressClass],
    services: Mapping[str, core_v1.Service],
    secrets: Mapping[str, core_v1.Secret],
    address: str,
    http_port: int,
    https_port: int,
) -> Compiled:
    compiled = Compiled()
    compiled.ours = [one for one in ingresses if is_ours(one, classes)]
    compiled.ours.sort(key=_age)  # who came first has a host and path that two claim
    if not compiled.ours:
        return compiled
    hosts = _Hosts(compiled, services)
    for ingress in compiled.ours:
        hosts.take(ingress)
    served = hosts.served()
    compiled.ports.append(Port(address, http_port, (Site("ingress", hosts=served),)))
    sites = _certificates(compiled, secrets, served)
    if sites:
        compiled.ports.append(Port(address, https_port, sites))
    return compiled


def _age(obj: networking_v1.Ingress) -> tuple[str, str, str]:
    meta = obj.metadata
    return (meta.creation_timestamp or "", meta.namespace, meta.name)


class _Hosts:
    """Gathers rules by host name."""

    def __init__(self, compiled: Compiled, services: Mapping[str, core_v1.Service]) -> None:
        self._compiled = compiled
        self._services = services
        self._rules: dict[str, dict[Match, Rule]] = {EVERYTHING: {}}
        self._default: Rule | None = None

    def take(self, ingress: networking_v1.Ingress) -> None:
        if ingress.spec.default_backend is not None:
            backend = self._backend(ingress, ingress.spec.default_backend)
            if self._default is None:
                self._default = Rule(backends=(backend,))
        for rule in ingress.spec.rules:
            host = rule.host or EVERYTHING
            rules = self._rules.setdefault(host, {})
            for path in rule.http.paths if rule.http is not None else ():
                if not _is_servable(path.path or "/"):
                    message = f"path {path.path!r} is none that a request can have"
                    self._refuse(ingress, "PathNotServed", message)
                    continue
                match = Match(_path(path))
                new_rule = Rule(
                    match,
                    (self._backend(ingress, path.backend),),
                    single_level=host if host.startswith("*.") else "",
                )
                rules.setdefault(match, new_rule)

    def served(self) -> tuple[Host, ...]:
        """What no path of a host matches goes to the default backend, or is not found."""
        default = [] if self._default is None else [self._default]
        everything = self._sorted(EVERYTHING)
        hosts = []
        for name in sorted(self._rules, key=specificity):
            rules = self._sorted(name)
            if name.startswith("*."):  # hosts with more labels than one in its place
                rules = rules + everything
            hosts.append(Host(name, (*rules, *default)))
        return tuple(hosts)

    def _sorted(self, host: str) -> list[Rule]:
        return sorted(self._rules[host].values(), key=precedence)

    def _backend(
        self, ingress: networking_v1.Ingress, backend: networking_v1.IngressBackend
    ) -> Backend:
        if backend.service is None:
            resource = backend.resource
            described = f"{resource.kind} {resource.name}" if resource is not None else "nothing"
            self._refuse(
                ingress, "UnsupportedBackend", f"a backend is {described}: only services are served"
            )
            return Backend(None)
        name = backend.service.name
        service = self._services.get(f"{ingress.metadata.namespace}/{name}")
        if service is None:
            self._refuse(ingress, "ServiceNotFound", f"there is no service {name}")
            return Backend(None)
        port = _port(service, backend.service.port)
        if port is None:
            wanted = backend.service.port.name or backend.service.port.number
            self._refuse(ingress, "ServiceNotFound", f"service {name} has no port {wanted}")
            return Backend(None)
        target = Target(
            service.metadata.namespace,
            name,
            port.port,
            "h2c" if port.app_protocol in _H2C else "http1",
        )
        return Backend(target)

    def _refuse(self, ingress: networking_v1.Ingress, reason: str, message: str) -> None:
        if (ingress, reason, message) not in self._compiled.events:
            self._compiled.events.append((ingress, reason, message))


def _port(
    service: core_v1.Service, wanted: networking_v1.ServiceBackendPort
) -> core_v1.ServicePort | None:
    for port in service.spec.ports:
        if (port.protocol or "TCP") != "TCP":
            continue
        if port.name == wanted.name if wanted.name else port.port == wanted.number:
            return port
    return None


def _is_servable(path: str) -> bool:
    """Envoy refuses the paths of all Ingresses for one with such a character."""
    return path.startswith("/") and path.isprintable() and not ("?" in path or "#" in path)


def _path(path: networking_v1.HTTPIngressPath) -> PathMatch:
    """ImplementationSpecific is a prefix here."""
    value = path.path or "/"
    if path.path_type == "Exact":
        return PathMatch("Exact", value)
    return PathMatch("Prefix", value.rstrip("/") or "/")


def _certificates(
    compiled: Compiled, secrets: Mapping[str, core_v1.Secret], hosts: tuple[Host, ...]
) -> tuple[Site, ...]:
    """A site for each secret with the names it is for; entries without hosts are for every name
    that has no other."""
    names: dict[str, str] = {}
    for ingress in compiled.ours:
        for entry in ingress.spec.tls:
            if not entry.secret_name:
                continue
            key = f"{ingress.metadata.namespace}/{entry.secret_name}"
            try:
                compiled.secrets[key] = certificate_of(secrets.get(key))
            except CertificateError as error:
                message = f"secret {entry.secret_name}: {error}"
                compiled.events.append((ingress, "CertificateNotUsable", message))
                continue
            for host in entry.hosts or [EVERYTHING]:
                names.setdefault(host, key)
    by_secret: dict[str, list[str]] = {}
    for name, key in names.items():
        by_secret.setdefault(key, []).append(name)
    sites = []
    for key, own in sorted(by_secret.items()):
        exact = tuple(sorted(name for name in own if name != EVERYTHING))
        if exact:
            sites.append(Site(f"ingress/{key}", exact, (key,), hosts))
        if EVERYTHING in own:
            sites.append(Site(f"ingress/{key}/*", (), (key,), hosts))
    return tuple(sites)
