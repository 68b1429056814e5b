"""The rules of a site as an Envoy route configuration."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.http.cors.v3 import cors_pb2
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2
from envoy.type.matcher.v3 import regex_pb2, string_pb2
from envoy.type.v3 import percent_pb2
from google.protobuf.duration_pb2 import Duration

from tiphys.addons.gateway.model import (
    EVERYTHING,
    NO_CHANGE,
    Cors,
    HeaderChange,
    Host,
    NamedMatch,
    PathMatch,
    PathRewrite,
    Redirect,
    Rule,
    Site,
)
from tiphys.network.xds.services import packed

_RETRY_ON = "connect-failure,refused-stream,reset-before-request"
"""What is safe to retry with any method: none of it reached a server."""
_RETRIES = 3
_MILLION = 1_000_000
_APPEND = base_pb2.HeaderValueOption.HeaderAppendAction.APPEND_IF_EXISTS_OR_ADD
_SET = base_pb2.HeaderValueOption.HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD
_REDIRECTS = {301: 0, 302: 1, 303: 2, 307: 3, 308: 4}


class MadeHosts:
    """Virtual hosts as they were made the last time: a change of one host leaves the others.

    Call `begin` before the configurations of a world are made: what is not requested in it is
    forgotten after the next one.
    """

    def __init__(self) -> None:
        self._before: dict[tuple[str, str], _Made] = {}
        self._now: dict[tuple[str, str], _Made] = {}

    def begin(self) -> None:
        self._before = self._now
        self._now = {}

    def virtual_host(
        self, configuration: str, host: Host, port: int, secure: bool
    ) -> route_components_pb2.VirtualHost:
        key = (configuration, host.name)
        cached = self._before.get(key)
        if cached is None or (cached.host, cached.port, cached.secure) != (host, port, secure):
            cached = _Made(host, port, secure, _virtual_host(host, port, secure))
        self._now[key] = cached
        return cached.message


class _Made(NamedTuple):
    host: Host
    port: int
    secure: bool
    message: route_components_pb2.VirtualHost


def route_configuration(
    name: str, port: int, site: Site, hosts_cache: MadeHosts
) -> route_pb2.RouteConfiguration:
    """Of a site that speaks HTTP. What no host has is not found."""
    secure = bool(site.secrets)
    hosts = list(site.hosts or ())
    if not any(host.name == EVERYTHING for host in hosts):
        hosts.append(Host(EVERYTHING))
    return route_pb2.RouteConfiguration(
        name=name,
        virtual_hosts=[hosts_cache.virtual_host(name, host, port, secure) for host in hosts],
        ignore_port_in_host_matching=True,
    )


def _virtual_host(host: Host, port: int, secure: bool) -> route_components_pb2.VirtualHost:
    virtual_host = route_components_pb2.VirtualHost(name=host.name, domains=[host.name])
    for rule in host.rules:
        virtual_host.routes.extend(routes(rule, port, secure))
    rest = virtual_host.routes.add()
    rest.match.prefix = "/"
    rest.direct_response.status = host.status
    return virtual_host


def routes(rule: Rule, port: int, secure: bool) -> Iterable[Any]:
    """One route, or two when a share of the requests has no backend that resolves."""
    route = route_components_pb2.Route(match=_match(rule))
    _change(route, rule.request, rule.response)
    if rule.cors is not None:
        route.typed_per_filter_config["envoy.filters.http.cors"].CopyFrom(packed(_cors(rule.cors)))
    if rule.redirect is not None:
        _redirect(route.redirect, rule.redirect, rule.match.path, port, secure)
        return [route]
    total = sum(one.weight for one in rule.backends)
    resolved = [one for one in rule.backends if one.target is not None and one.weight]
    missing = total - sum(one.weight for one in resolved)
    if not resolved:
        route.direct_response.status = 500
        return [route]
    _forward(route.route, rule, resolved)
    if not missing:
        return [route]
    failing = route_components_pb2.Route(match=route.match)
    failing.match.runtime_fraction.default_value.CopyFrom(_share(round(_MILLION * missing / total)))
    failing.direct_response.status = 500
    return [failing, route]


# --- matching ---


def _match(rule: Rule) -> route_components_pb2.RouteMatch:
    match = route_components_pb2.RouteMatch()
    path = rule.match.path
    if path.kind == "Exact":
        match.path = path.value
    elif path.kind == "RegularExpression":
        match.safe_regex.CopyFrom(_regex(path.value))
    elif path.value.rstrip("/"):
        match.path_separated_prefix = path.value.rstrip("/")
    else:
        match.prefix = "/"
    if rule.single_level:
        pattern = rf"[^.]+{re.escape(rule.single_level[1:])}(:\d+)?"
        match.headers.add(name=":authority").string_match.safe_regex.CopyFrom(
            _regex(f"(?i){pattern}")
        )
    if rule.match.method:
        match.headers.add(name=":method").string_match.exact = rule.match.method
    for header in rule.match.headers:
        match.headers.add(name=header.name).string_match.CopyFrom(_text(header))
    for parameter in rule.match.query:
        match.query_parameters.add(name=parameter.name).string_match.CopyFrom(_text(parameter))
    return match


def _text(match: NamedMatch) -> string_pb2.StringMatcher:
    if match.kind == "RegularExpression":
        return string_pb2.StringMatcher(safe_regex=_regex(match.value))
    return string_pb2.StringMatcher(exact=match.value)


def _regex(pattern: str) -> regex_pb2.RegexMatcher:
    return regex_pb2.RegexMatcher(regex=pattern)


# --- changing ---


def _change(route: Any, request: HeaderChange, response: HeaderChange) -> None:
    """Of a route or of one cluster of it."""
    route.request_headers_to_add.extend(_added(request))
    route.request_headers_to_remove.extend(_allowed(request.remove))
    route.response_headers_to_add.extend(_added(response))
    route.response_headers_to_remove.extend(_allowed(response.remove))


def _added(change: HeaderChange) -> Iterable[base_pb2.HeaderValueOption]:
    for action, headers in ((_SET, change.set), (_APPEND, change.add)):
        for name, value in headers:
            if _allowed((name,)):
                # A percent sign would start one of Envoy's own variables.
                header = base_pb2.HeaderValue(key=name, value=value.replace("%", "%%"))
                yield base_pb2.HeaderValueOption(header=header, append_action=action)


def _allowed(names: Iterable[str]) -> list[str]:
    """Envoy refuses any configuration that touches Host: a rewrite of the host name does that."""
    return [name for name in names if name.lower() != "host" and not name.startswith(":")]


def _forward(action: route_components_pb2.RouteAction, rule: Rule, backends: list[Any]) -> None:
    action.timeout.CopyFrom(_seconds(rule.timeout))
    retry = action.retry_policy
    retry.retry_on = _RETRY_ON
    retry.num_retries.value = _RETRIES
    predicate = retry.retry_host_predicate.add(name="envoy.retry_host_predicates.previous_hosts")
    predicate.typed_config.CopyFrom(packed(previous_hosts_pb2.PreviousHostsPredicate()))
    if rule.attempt_timeout:
        retry.per_try_timeout.CopyFrom(_seconds(rule.attempt_timeout))
    if rule.hostname:
        action.host_rewrite_literal = rule.hostname
    if rule.path is not None:
        _rewrite(action, rule.path, rule.match.path)
    for mirror in rule.mirrors:
        policy = action.request_mirror_policies.add(cluster=mirror.target.cluster)
        policy.runtime_fraction.default_value.CopyFrom(_share(mirror.millionths))
    single = backends[0]
    if (
        len(backends) == 1
        and single.request == single.response == NO_CHANGE
        and not single.hostname
    ):
        action.cluster = single.target.cluster
        return
    for backend in backends:
        share = action.weighted_clusters.clusters.add(name=backend.target.cluster)
        share.weight.value = backend.weight
        _change(share, backend.request, backend.response)
        if backend.hostname:
            share.host_rewrite_literal = backend.hostname


def _rewrite(action: Any, path: PathRewrite, match: PathMatch) -> None:
    """Of a route or a redirect. Neither ever makes two slashes of one."""
    prefix = match.value.rstrip("/")
    pattern = ".*"
    replacement = path.value
    if path.prefix:
        pattern = f"^{re.escape(prefix)}/*"
        replacement = path.value.rstrip("/") + "/"
        if path.value.rstrip("/"):
            # What is exactly the prefix becomes exactly the replacement.
            action.prefix_rewrite = path.value.rstrip("/") if prefix else replacement
            return
    action.regex_rewrite.pattern.CopyFrom(_regex(pattern))
    action.regex_rewrite.substitution = replacement.replace("\\", "\\\\")


def _redirect(
    action: route_components_pb2.RedirectAction,
    redirect: Redirect,
    match: PathMatch,
    port: int,
    secure: bool,
) -> None:
    """The port is the scheme's own where the scheme changes, else the listener's; a usual one is
    not written.

    Source: the documentation of HTTPRequestRedirectFilter.
    """
    action.response_code = _REDIRECTS[redirect.status]
    scheme = redirect.scheme or ("https" if secure else "http")
    usual = 443 if scheme == "https" else 80
    wanted = redirect.port or (usual if redirect.scheme else port)
    if redirect.scheme:
        action.scheme_redirect = redirect.scheme
    if redirect.hostname:
        action.host_redirect = redirect.hostname
    if wanted != usual or (not redirect.hostname and port != wanted):
        action.port_redirect = wanted
    if redirect.path is None:
        return
    if redirect.path.prefix:
        _rewrite(action, redirect.path, match)
    else:
        action.path_redirect = redirect.path.value


def _cors(cors: Cors) -> cors_pb2.CorsPolicy:
    policy = cors_pb2.CorsPolicy(
        allow_methods=",".join(cors.methods),
        allow_headers=",".join(cors.headers),
        expose_headers=",".join(cors.exposed),
        max_age=str(cors.max_age),
    )
    policy.allow_credentials.value = cors.credentials
    for origin in cors.origins:
        if "*" in origin:
            pattern = ".*" if origin == "*" else re.escape(origin).replace(r"\*", "[^/]+")
            policy.allow_origin_string_match.add().safe_regex.CopyFrom(_regex(pattern))
        else:
            policy.allow_origin_string_match.add().exact = origin
    return policy


def _share(millionths: int) -> percent_pb2.FractionalPercent:
    return percent_pb2.FractionalPercent(
        numerator=millionths, denominator=percent_pb2.FractionalPercent.MILLION
    )


def _seconds(value: float) -> Duration:
    """0 is no limit."""
    duration = Duration()
    duration.FromNanoseconds(round(value * 1e9))
    return duration
