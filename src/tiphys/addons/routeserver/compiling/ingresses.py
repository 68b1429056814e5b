"""Routes of Ingress objects.

Routes are kept by host until all objects have given theirs: a host of which nothing takes every
path gets a route that answers the rest with 404, which only all of its routes together decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tiphys.addons.routeserver.compiling import annotating, hosts, redirects
from tiphys.addons.routeserver.compiling.annotations import IngressAnnotations, read_annotations
from tiphys.addons.routeserver.compiling.cluster import Cluster
from tiphys.addons.routeserver.compiling.objects import (
    Ingress,
    IngressBackend,
    IngressPath,
    IngressRule,
    Metadata,
    Problem,
    Service,
    ServicePort,
)
from tiphys.addons.routeserver.compiling.options import Options
from tiphys.addons.routeserver.compiling.traffic import ALL, Share, Weighted, shares
from tiphys.addons.routeserver.compiling.validating import (
    BALANCER,
    ROUTES,
)
from tiphys.addons.routeserver.eskip import (
    Backend,
    Call,
    EskipError,
    Route,
    read_filters,
)

_PATHS = ("Path", "PathSubtree")


@dataclass
class _Host:
    """What all objects together have for one host. `redirect` is the code that one of them sends
    http away with."""

    routes: list[Route] = field(default_factory=list)
    takes_all: bool = False
    redirect: int = 0
    stays_http: bool = False


class Ingresses:
    """Takes objects one by one with `add`, then `routes` has them all."""

    def __init__(self, cluster: Cluster, options: Options, problems: list[Problem]) -> None:
        self._cluster = cluster
        self._options = options
        self._problems = problems
        self._hosts: dict[str, _Host] = {}
        self._defaults: list[tuple[Metadata, Route]] = []

    def routes(self) -> list[Route]:
        routes = [route for _, route in self._defaults]
        for name, host in self._hosts.items():
            routes += self._of_host(name, host)
        if self._options.east_west:
            routes += [
                hosts.inside_route(route, self._east_west(whose)) for whose, route in self._defaults
            ]
        return routes

    def _of_host(self, name: str, host: _Host) -> list[Route]:
        options = self._options
        routes = host.routes
        if hosts.is_inside(name, options.east_west_range_domains):
            routes = [route.where(*options.east_west_range_predicates) for route in routes]
        if host.takes_all or not options.catch_all:
            return routes
        named = tuple(call for call in routes[0].predicates if call.name == "Host")
        rest = Route(_id("", "catchall", name), named)
        routes = [*routes, rest]
        if host.redirect:
            routes.append(redirects.to_https(rest, host.redirect))
        if host.stays_http:
            routes.append(redirects.stays_http(rest))
        return routes

    def _east_west(self, metadata: Metadata) -> str:
        return f"{metadata.name}.{metadata.namespace}.{self._options.east_west_domain}"

    def add(self, ingress: Ingress) -> None:
        """An Ingress that is in order by itself (see `validating`)."""
        assert ingress.spec is not None
        annotations = read_annotations(ingress, self._options, self._problems)
        if ingress.spec.default_backend is not None:
            self._add_default(ingress, annotations, ingress.spec.default_backend)
        for rule in ingress.spec.rules or ():
            self._add_rule(ingress, annotations, rule)

    # --- backends ---

    def _backend(
        self, ingress: Ingress, annotations: IngressAnnotations, backend: IngressBackend
    ) -> tuple[Service, Backend, tuple[Call, ...]] | None:
        """The service, where its requests go, and the filters that go with that; None for no route
        at all."""
        metadata = annotations.metadata
        wanted = backend.service
        service = self._cluster.service(metadata.namespace, wanted.name)
        if service is None or service.spec is None:
            self._problems.append(Problem(ingress, f"service {wanted.name} does not exist"))
            return None
        port = _port_of(service, str(wanted.port))
        if port is None:
            return service, Backend("shunt"), annotating.NO_ENDPOINTS
        if service.spec.type == "ExternalName":
            return self._external(ingress, service, port)
        if self._options.service_names:
            name = f"{wanted.name}.{metadata.namespace}.svc.cluster.local"
            return service, Backend("network", _address(name, port)), ()
        endpoints = self._cluster.behind_port(
            service, port, annotations.scheme, annotations.zone_aware
        )
        algorithm = metadata.annotation(BALANCER)
        if BALANCER not in (metadata.annotations or {}):
            algorithm = self._options.load_balancer
        target = annotating.backend_of(endpoints, algorithm)
        if target.kind == "shunt":
            return service, target, annotating.NO_ENDPOINTS
        return service, target, annotating.zone_filters(metadata) if target.kind == "lb" else ()

    def _external(
        self, ingress: Ingress, service: Service, port: ServicePort
    ) -> tuple[Service, Backend, tuple[Call, ...]] | None:
        assert service.spec is not None
        name = service.spec.external_name
        options = self._options
        if not options.external_names:
            problem = f"service {service.metadata.name}: external names are not enabled"
            self._problems.append(Problem(ingress, problem))
            return None
        if not hosts.is_allowed(name, options.allowed_external_names):
            problem = f"service {service.metadata.name}: external name {name} is not allowed"
            self._problems.append(Problem(ingress, problem))
            return None
        named = Call("setRequestHeader", ("Host", name))
        filters = () if options.external_name_keeps_host else (named,)
        return service, Backend("network", _address(name, port)), filters

    # --- the default backend ---

    def _add_default(
        self, ingress: Ingress, annotations: IngressAnnotations, backend: IngressBackend
    ) -> None:
        resolved = self._backend(ingress, annotations, backend)
        if resolved is None:
            return
        service, target, filters = resolved
        metadata = annotations.metadata
        id_ = _id(metadata.namespace, metadata.name)
        if _is_external(service) and target.kind == "network":
            assert service.spec is not None
            id_ = _id(metadata.namespace, metadata.name, "default", "", service.spec.external_name)
        route = Route(id_, (), filters, target)
        route = route.after(*annotating.application(metadata, self._options))
        self._defaults.append((metadata, self._forwarded(annotations, route)))

    def _forwarded(self, annotations: IngressAnnotations, route: Route) -> Route:
        if not annotations.forwards:
            return route
        return replace(route, filters=(), backend=Backend("network", self._options.forward_url))

    # --- rules ---

    def _add_rule(
        self, ingress: Ingress, annotations: IngressAnnotations, rule: IngressRule
    ) -> None:
        paths = rule.http.paths if rule.http is not None else None
        path_shares = _shares(paths or (), annotations.weights, self._options.traffic)
        for path, share in zip(paths or (), path_shares, strict=True):
            self._add_extra(ingress, annotations, rule.host, path)
            if share.allowed:
                self._add_path(ingress, annotations, rule.host, path, share)

    def _add_path(
        self,
        ingress: Ingress,
        annotations: IngressAnnotations,
        host: str,
        path: IngressPath,
        share: Share,
    ) -> None:
        if path.backend is None:
            self._problems.append(Problem(ingress, f"path {path.path} of {host} has no backend"))
            return
        resolved = self._backend(ingress, annotations, path.backend)
        if resolved is None:
            return
        service, target, filters = resolved
        metadata = annotations.metadata
        if _is_external(service) and target.kind == "network":
            assert service.spec is not None
            id_ = _id(metadata.namespace, metadata.name, host, "", service.spec.external_name)
            where: tuple[Call, ...] = ()
        else:
            name = path.backend.service.name
            id_ = _id(metadata.namespace, metadata.name, host, path.path, name)
            where = (*_path(annotations.path_mode, path), *share.predicates)
        named = (hosts.host(host),) if host else ()
        route = Route(id_, (*named, *where), filters, target)
        takes_all = _takes_all(route)
        if target.kind != "shunt":
            route = route.after(*annotations.filters)
        route = route.after(*self._default_filters(ingress, path.backend.service.name))
        route = _with_predicates(route, annotations)
        route = route.after(*annotating.application(metadata, self._options))
        self._keep(annotations, host, self._forwarded(annotations, route), takes_all)

    def _default_filters(self, ingress: Ingress, service: str) -> tuple[Call, ...]:
        key = f"{service}.{ingress.metadata.namespace}"
        try:
            return read_filters(self._options.default_filters.get(key, ""))
        except EskipError as error:
            self._problems.append(Problem(ingress, f"default filters of {key}: {error}"))
            return ()

    def _keep(
        self, annotations: IngressAnnotations, name: str, route: Route, takes_all: bool
    ) -> None:
        """Puts the route to its host, with what goes beside it."""
        options = self._options
        metadata = annotations.metadata
        beside: list[Route] = []
        domains = (*options.east_west_range_domains, options.east_west_domain)
        if hosts.is_inside(name, filter(None, domains)):
            kept = annotating.inside(route, metadata, options)
        else:
            kept = annotating.outside(route, metadata, options)
            beside = self._redirect(annotations, name, route)
        host = self._host(name, takes_all)
        host.routes += [kept, *beside]
        if options.east_west:
            self._keep_inside(annotations, kept, takes_all)

    def _redirect(self, annotations: IngressAnnotations, name: str, route: Route) -> list[Route]:
        if annotations.handles_protocol or annotations.redirect.wanted is None:
            return []
        self._note_redirect(annotations, name)
        if annotations.redirect.wanted:
            return [redirects.to_https(route, annotations.redirect.code)]
        return [redirects.stays_http(route)]

    def _note_redirect(self, annotations: IngressAnnotations, name: str) -> None:
        host = self._host(name, takes_all=False)
        if annotations.redirect.wanted:
            host.redirect = annotations.redirect.code
        elif annotations.redirect.wanted is False:
            host.stays_http = True

    def _keep_inside(self, annotations: IngressAnnotations, route: Route, takes_all: bool) -> None:
        name = self._east_west(annotations.metadata)
        inside = self._forwarded(annotations, hosts.inside_route(route, name))
        self._host(name, takes_all).routes.append(inside)

    def _host(self, name: str, takes_all: bool) -> _Host:
        host = self._hosts.setdefault(name, _Host())
        host.takes_all = host.takes_all or takes_all
        return host

    # --- routes of an annotation ---

    def _add_extra(
        self, ingress: Ingress, annotations: IngressAnnotations, host: str, path: IngressPath
    ) -> None:
        metadata = annotations.metadata
        options = self._options
        for index, extra in enumerate(annotations.extra):
            where = _path(annotations.path_mode, path)
            route = extra.without(
                "Host", *(call.name for call in where if call.name == "PathRegexp")
            )
            route = route.where(hosts.host(host), *where)
            id_ = _id(
                metadata.namespace,
                f"{metadata.name}_{extra.id}_{index}",
                host + path.path.replace("/", "_"),
            )
            route = replace(route, id=id_)
            if sum(call.name in _PATHS for call in route.predicates) > 1:
                problem = f"annotation {ROUTES}: route {extra.id} would have two paths"
                self._problems.append(Problem(ingress, problem))
                continue
            takes_all = _takes_all(route)
            is_inside = hosts.is_inside(host, options.east_west_range_domains)
            add = annotating.inside if is_inside else annotating.outside
            route = add(route, metadata, options)
            route = route.after(*annotating.application(metadata, options))
            extra_route = self._forwarded(annotations, route)
            if route.backend.kind == "shunt":  # keeps what it is, and loses its filters (upstream)
                extra_route = replace(extra_route, backend=route.backend)
            self._host(host, takes_all).routes.append(extra_route)
            self._note_redirect(annotations, host)
            if options.east_west:
                self._keep_inside(annotations, extra_route, takes_all)


def _id(namespace: str, name: str, host: str = "", path: str = "", backend: str = "") -> str:
    """The names that make a route what it is; changes of anything else keep it."""
    parts = map(hosts.symbol, (name, host, path, backend))
    return f"kube_{hosts.symbol(namespace)}__{'__'.join(parts)}"


def _is_external(service: Service) -> bool:
    return service.spec is not None and service.spec.type == "ExternalName"


def _port_of(service: Service, wanted: str) -> ServicePort | None:
    assert service.spec is not None
    for port in service.spec.ports or ():
        if wanted and wanted in (str(port.port), port.name) and port.target_port is not None:
            return port
    return None


def _address(host: str, port: ServicePort) -> str:
    scheme = "https" if port.target_port == 443 else "http"
    return f"{scheme}://{host}:{port.target_port}"


def _path(mode: str, path: IngressPath) -> tuple[Call, ...]:
    text = path.path
    if not text:
        return ()
    if path.path_type == "Exact":
        return (Call("Path", (text,)),)
    if path.path_type == "Prefix" or mode == "path-prefix":
        return (Call("PathSubtree", (text,)),)
    if mode == "path-regexp":
        return (Call("PathRegexp", (text,)),)
    return (Call("PathRegexp", ("^/" if text == "/" else f"^({text})",)),)


def _takes_all(route: Route) -> bool:
    """Whether the route may answer any path of its host. PathSubtree counts: it names what it does
    not take with 404."""
    patterns = [call.args for call in route.predicates if call.name == "PathRegexp"]
    return not patterns or ("^/",) in patterns


def _with_predicates(route: Route, annotations: IngressAnnotations) -> Route:
    """With the predicates of the annotation. In path-prefix mode a path of theirs stands for the
    rule's."""
    for call in annotations.predicates:
        if annotations.path_mode == "path-prefix" and call.name in _PATHS:
            route = route.without(*_PATHS)
    return route.where(*annotations.predicates)


def _shares(
    paths: Sequence[IngressPath], weights: Mapping[str, float], algorithm: str
) -> list[Share]:
    """Backends of the same path share its traffic."""
    by_path: dict[str, list[Weighted]] = {}
    for path in paths:
        name = path.backend.service.name if path.backend is not None else ""
        by_path.setdefault(path.path, []).append(Weighted(name, weights.get(name, 0.0)))
    by_path_shares = {path: shares(backends, algorithm) for path, backends in by_path.items()}
    return [
        by_path_shares[path.path].get(
            path.backend.service.name if path.backend is not None else "", ALL
        )
        for path in paths
    ]
