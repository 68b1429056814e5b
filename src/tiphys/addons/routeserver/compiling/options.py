"""How objects become routes: Skipper's flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tiphys.addons.routeserver.eskip import Call

DEFAULT_ALGORITHM = "roundRobin"


@dataclass(frozen=True)
class Appended:
    """What routes of objects that have an annotation with this value get more."""

    key: str
    value: str
    calls: tuple[Call, ...]


@dataclass(frozen=True)
class Options:
    """
    ingress_class, route_group_class: expressions; objects of another class are ignored
    *_labels: labels that objects must have, with an empty value for any
    path_mode: of Ingress paths without a type: kubernetes-ingress, path-regexp or path-prefix
    endpoint_slices: whether pods are taken from EndpointSlices rather than from Endpoints
    zone: endpoints of this zone alone, where it has 3 at least
    traffic: traffic-predicate or traffic-segment-predicate
    east_west: every object gets a host name.namespace.DOMAIN as well
    east_west_domain: hosts below it are inside, and never sent from http to https
    east_west_range_*: hosts below these domains are inside; their routes get these predicates
    allowed_external_names: expressions of hosts outside that may be backends; None allows all
    default_filters: filters (text) of every route to a service, by "service.namespace"
    """

    ingress_class: str = "skipper"
    route_group_class: str = "skipper"
    ingress_labels: Mapping[str, str] = field(default_factory=dict)
    service_labels: Mapping[str, str] = field(default_factory=dict)
    endpoint_labels: Mapping[str, str] = field(default_factory=dict)
    path_mode: str = "kubernetes-ingress"
    endpoint_slices: bool = True
    zone: str = ""
    traffic: str = "traffic-predicate"
    load_balancer: str = DEFAULT_ALGORITHM
    catch_all: bool = True
    https_redirect: bool = False
    https_redirect_code: int = 308
    east_west: bool = False
    east_west_domain: str = ""
    east_west_range_domains: tuple[str, ...] = ()
    east_west_range_predicates: tuple[Call, ...] = ()
    annotation_predicates: tuple[Appended, ...] = ()
    annotation_filters: tuple[Appended, ...] = ()
    east_west_annotation_predicates: tuple[Appended, ...] = ()
    east_west_annotation_filters: tuple[Appended, ...] = ()
    application_label: str = ""
    external_names: bool = False
    external_name_keeps_host: bool = False
    allowed_external_names: tuple[str, ...] | None = None
    service_names: bool = False
    forward_url: str = ""
    backend_tracing_tag: bool = False
    default_filters: Mapping[str, str] = field(default_factory=dict)
