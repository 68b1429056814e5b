"""Routes of RouteGroup objects: of the hosts outside and, with others' rules, of those inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tiphys.addons.routeserver.compiling import annotating, hosts, redirects
from tiphys.addons.routeserver.compiling.cluster import Cluster, Scheme
from tiphys.addons.routeserver.compiling.objects import Problem, RouteGroup
from tiphys.addons.routeserver.compiling.options import Options
from tiphys.addons.routeserver.compiling.traffic import Share, Weighted, shares
from tiphys.addons.routeserver.eskip import (
    Backend,
    Call,
    EskipError,
    Route,
    read_filters,
    read_predicates,
)
from tiphys.addons.routeserver.eskip.reading import endpoint_of
from tiphys.addons.routeserver.types import BackendReference, RouteGroupBackend, RouteGroupRoute

_TRACING_TAG = "skipper.backend_name"


class _NoRoute(Exception):
    """A backend cannot be resolved; the text is the reason."""


@dataclass
class _Group:
    """One RouteGroup with its hosts of one side. `complete` grows: hosts that have a route for
    every path."""

    group: RouteGroup
    hosts: list[str]
    inside: bool
    redirect: int = 0
    seen: set[str] = field(default_factory=set)
    complete: set[str] = field(default_factory=set)


class Groups:
    """`routes_of` has those of one object, which is in order by itself (see `validating`)."""

    def __init__(self, cluster: Cluster, options: Options, problems: list[Problem]) -> None:
        self._cluster = cluster
        self._options = options
        self._problems = problems

    def routes_of(self, group: RouteGroup) -> list[Route]:
        assert group.spec is not None
        domains = self._options.east_west_range_domains
        names = list(dict.fromkeys(group.spec.hosts))
        internal = [name for name in names if hosts.is_inside(name, domains)]
        external = [name for name in names if name not in internal]
        routes: list[Route] = []
        try:
            if external or not names:
                routes += self._outside(group, external)
            if internal:
                routes += self._inside(group, internal)
        except _NoRoute as error:
            self._problems.append(Problem(group, str(error)))
        return routes

    def _outside(self, group: RouteGroup, names: list[str]) -> list[Route]:
        options = self._options
        metadata = group.metadata
        wanted = redirects.of_object(metadata, options.https_redirect, 0).wanted
        side = _Group(group, names, False, options.https_redirect_code if wanted else 0)
        return [annotating.outside(route, metadata, options) for route in self._side(side)]

    def _inside(self, group: RouteGroup, names: list[str]) -> list[Route]:
        options = self._options
        routes = self._side(_Group(group, names, True))
        routes = [route.where(*options.east_west_range_predicates) for route in routes]
        return [annotating.inside(route, group.metadata, options) for route in routes]

    def _side(self, side: _Group) -> list[Route]:
        assert side.group.spec is not None
        routes = self._explicit(side) if side.group.spec.routes else self._implicit(side)
        if not self._options.catch_all:
            return routes
        missing = [name for name in side.hosts if name in side.seen - side.complete]
        return routes + [
            Route(_id("", hosts.symbol(name), "catchall", 0, 0, side.inside), (hosts.host(name),))
            for name in missing
        ]

    # --- routes ---

    def _implicit(self, side: _Group) -> list[Route]:
        """A group without routes sends all that its hosts get to the default backends."""
        spec = side.group.spec
        assert spec is not None
        shares_ = self._shares(spec.default_backends)
        routes: list[Route] = []
        for index, reference in enumerate(spec.default_backends):
            backend = _by_name(spec.backends)[reference.backend_name]
            route = Route(_route_id(side, "all", 0, index))
            route = self._to(side, backend, route)
            route = route.where(*_named(side), *shares_[reference.backend_name].predicates)
            routes += self._with_others(side, backend, route)
        return routes

    def _explicit(self, side: _Group) -> list[Route]:
        spec = side.group.spec
        assert spec is not None
        routes: list[Route] = []
        for index, route in enumerate(spec.routes):
            try:
                routes += self._of_route(side, index, route)
            except (_NoRoute, EskipError) as error:
                problem = Problem(side.group, f"spec.routes[{index}]: {error}")
                self._problems.append(problem)
        return routes

    def _of_route(self, side: _Group, index: int, group_route: RouteGroupRoute) -> list[Route]:
        spec = side.group.spec
        assert spec is not None
        references = group_route.backends or spec.default_backends
        parts = self._shares(references)
        backends = _by_name(spec.backends)
        where = _where(side, group_route)
        predicates = [call for text in group_route.predicates for call in read_predicates(text)]
        filters = tuple(call for text in group_route.filters for call in read_filters(text))
        routes: list[Route] = []
        for method in dict.fromkeys(group_route.methods or [""]):
            asked = (Call("Method", (method.upper(),)),) if method else ()
            for number, reference in enumerate(references):
                id_ = _route_id(side, method.lower() or "all", index, number)
                route = Route(id_, (*where, *asked, *predicates), filters)
                backend = backends[reference.backend_name]
                route = self._to(side, backend, route)
                route = route.where(*parts[reference.backend_name].predicates)
                routes += self._with_others(side, backend, route)
        return routes

    def _with_others(self, side: _Group, backend: RouteGroupBackend, route: Route) -> list[Route]:
        """The route with what every one gets, and those beside it."""
        metadata = side.group.metadata
        options = self._options
        if (backend.type or "service") == "service":
            route = route.after(*self._default_filters(side, backend.service_name))
        route = route.after(*annotating.application(metadata, options))
        side.seen.update(side.hosts)
        if all(call.name == "Host" for call in route.predicates):
            side.complete.update(side.hosts)
        routes = [route]
        domain = options.east_west_domain
        if options.east_west and not side.inside and not _has_inside(side.hosts, domain):
            name = f"{metadata.name}.{metadata.key[0]}.{domain}"
            routes.append(hosts.inside_route(route, name))
        if side.redirect and not redirects.looks_at_protocol(route):
            routes.append(redirects.group_to_https(route, side.redirect))
        return routes

    def _shares(self, references: Sequence[BackendReference]) -> dict[str, Share]:
        weighted = [Weighted(each.backend_name, float(each.weight)) for each in references]
        return shares(weighted, self._options.traffic)

    def _default_filters(self, side: _Group, service: str) -> tuple[Call, ...]:
        key = f"{service}.{side.group.metadata.key[0]}"
        try:
            return read_filters(self._options.default_filters.get(key, ""))
        except EskipError as error:
            problem = Problem(side.group, f"default filters of {key}: {error}")
            self._problems.append(problem)
            return ()

    # --- backends ---

    def _to(self, side: _Group, backend: RouteGroupBackend, route: Route) -> Route:
        """The route, to the backend. Raises _NoRoute."""
        kind = backend.type or "service"
        if kind == "service":
            route = self._to_service(side, backend, route)
        elif kind == "network":
            self._check_allowed(backend.address)
            route = replace(route, backend=Backend("network", backend.address))
        elif kind == "lb":
            for address in backend.endpoints:
                self._check_allowed(address)
            algorithm = backend.algorithm or self._options.load_balancer
            endpoints = tuple(map(endpoint_of, backend.endpoints))
            route = replace(route, backend=Backend("lb", "", algorithm, endpoints))
        elif kind == "forward":
            target = Backend("network", self._options.forward_url)
            route = replace(route, filters=(), backend=target)
        else:
            route = replace(route, backend=Backend(kind))
        if self._options.backend_tracing_tag:
            route = route.then(Call("tracingTag", (_TRACING_TAG, backend.name)))
        return route

    def _to_service(self, side: _Group, backend: RouteGroupBackend, route: Route) -> Route:
        metadata = side.group.metadata
        name = backend.service_name
        service = self._cluster.service(metadata.namespace, name)
        if service is None or service.spec is None:
            raise _NoRoute(f"service {name} does not exist")
        if service.spec.type.lower() != "clusterip":
            raise _NoRoute(f"service {name} is of type {service.spec.type}, not ClusterIP")
        ports = [port for port in service.spec.ports or () if port.port == backend.service_port]
        if not ports:
            raise _NoRoute(f"service {name} has no port {backend.service_port}")
        target = ports[0].target_port
        protocol = metadata.annotation(annotating.PROTOCOL)
        scheme = Scheme(protocol, is_explicit=True) if protocol else Scheme()
        zone_aware = not side.inside and not annotating.ignores_zones(metadata)
        endpoints = self._cluster.behind_target(service, target or "", scheme, zone_aware)
        algorithm = backend.algorithm or self._options.load_balancer
        target_backend = annotating.backend_of(endpoints, algorithm)
        if target_backend.kind == "shunt":
            return replace(route, filters=annotating.NO_ENDPOINTS, backend=target_backend)
        return replace(route.after(*annotating.zone_filters(metadata)), backend=target_backend)

    def _check_allowed(self, address: str) -> None:
        if not hosts.is_allowed_address(address, self._options.allowed_external_names):
            raise _NoRoute(f"the address {address} is not allowed")


def _by_name(backends: Sequence[RouteGroupBackend]) -> Mapping[str, RouteGroupBackend]:
    return {backend.name: backend for backend in backends}


def _has_inside(names: Sequence[str], domain: str) -> bool:
    return any(name.endswith(domain) for name in names)


def _named(side: _Group) -> tuple[Call, ...]:
    return (hosts.host(*side.hosts),) if side.hosts else ()


def _where(side: _Group, route: RouteGroupRoute) -> tuple[Call, ...]:
    predicates: list[Call] = []
    if route.path:
        predicates.append(Call("Path", (route.path,)))
    elif route.path_subtree:
        predicates.append(Call("PathSubtree", (route.path_subtree,)))
    if route.path_regexp:
        predicates.append(Call("PathRegexp", (route.path_regexp,)))
    return (*predicates, *_named(side))


def _route_id(side: _Group, method: str, index: int, number: int) -> str:
    namespace, name = map(hosts.symbol, side.group.metadata.key)
    return _id(namespace, name, hosts.symbol(method), index, number, side.inside)


def _id(namespace: str, name: str, kind: str, index: int, number: int, inside: bool) -> str:
    namespace = f"internal_{namespace}" if inside else namespace
    return f"kube_rg__{namespace}__{name}__{kind}__{index}_{number}"
