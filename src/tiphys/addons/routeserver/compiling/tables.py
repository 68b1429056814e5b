"""A reading of the cluster becomes a table of routes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

from tiphys.addons.routeserver.compiling import redirects
from tiphys.addons.routeserver.compiling.cluster import Cluster, has_labels
from tiphys.addons.routeserver.compiling.groups import Groups
from tiphys.addons.routeserver.compiling.ingresses import Ingresses
from tiphys.addons.routeserver.compiling.objects import Ingress, Objects, Problem, RouteGroup
from tiphys.addons.routeserver.compiling.options import Options
from tiphys.addons.routeserver.compiling.validating import ingress_problem, route_group_problem
from tiphys.addons.routeserver.eskip import Route

_INGRESS_CLASS = "kubernetes.io/ingress.class"
_GROUP_CLASS = "zalando.org/routegroup.class"
_Kind = TypeVar("_Kind", Ingress, RouteGroup)


@dataclass(frozen=True)
class Compiled:
    """Routes sorted by id, and what is wrong with objects that therefore have none, or fewer."""

    routes: tuple[Route, ...] = ()
    problems: tuple[Problem, ...] = field(default=())


def compile_routes(objects: Objects, options: Options) -> Compiled:
    """An object that is wrong harms itself alone. Where two routes have one id the first stays."""
    problems = list(objects.problems)
    cluster = Cluster(_selected(objects, options), options.endpoint_slices, options.zone)
    ingresses = Ingresses(cluster, options, problems)
    for ingress in _sorted(objects.ingresses):
        if _is_ours(ingress, options) and _in_order(ingress, ingress_problem, problems):
            ingresses.add(ingress)
    routes = ingresses.routes()
    groups = Groups(cluster, options, problems)
    for group in _sorted(objects.route_groups):
        if _is_our_group(group, options) and _in_order(group, route_group_problem, problems):
            routes += groups.routes_of(group)
    if options.https_redirect:
        routes.append(redirects.global_route(options.https_redirect_code))
    by_id: dict[str, Route] = {}
    for route in routes:
        by_id.setdefault(route.id, route)
    return Compiled(tuple(by_id[id_] for id_ in sorted(by_id)), tuple(problems))


def _selected(objects: Objects, options: Options) -> Objects:
    services = [s for s in objects.services if has_labels(s.metadata, options.service_labels)]
    endpoints = [e for e in objects.endpoints if has_labels(e.metadata, options.endpoint_labels)]
    return replace(objects, services=services, endpoints=endpoints)


def _sorted(objects: Iterable[_Kind]) -> Iterator[_Kind]:
    return iter(sorted(objects, key=lambda obj: obj.metadata.key))


def _is_ours(ingress: Ingress, options: Options) -> bool:
    annotated_class = ingress.metadata.annotation(_INGRESS_CLASS)
    named = (ingress.spec.ingress_class_name or "") if ingress.spec is not None else ""
    return (
        has_labels(ingress.metadata, options.ingress_labels)
        and _matches(options.ingress_class, annotated_class)
        and _matches(options.ingress_class, named)
    )


def _is_our_group(group: RouteGroup, options: Options) -> bool:
    return _matches(options.route_group_class, group.metadata.annotation(_GROUP_CLASS))


def _matches(expression: str, name: str) -> bool:
    """Whether a class is ours: an object without one belongs to every controller."""
    return not name or re.search(expression, name) is not None


def _in_order(obj: _Kind, check: object, problems: list[Problem]) -> bool:
    assert callable(check)
    problem = check(obj)
    if problem:
        problems.append(Problem(obj, problem))
    return not problem
