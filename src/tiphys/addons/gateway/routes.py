"""Rules of HTTPRoutes, GRPCRoutes and the routes of connections, as rules of the model."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import re2

from tiphys.addons.gateway.backends import Resolver, Unresolved
from tiphys.addons.gateway.model import (
    NO_CHANGE,
    Backend,
    Cors,
    HeaderChange,
    Match,
    Mirror,
    NamedMatch,
    PathMatch,
    PathRewrite,
    Redirect,
    Rule,
)
from tiphys.addons.gateway.snapshot import Route, Verdict
from tiphys.addons.gateway.types.grpc import GRPCRouteMatch
from tiphys.addons.gateway.types.http import HTTPPathModifier, HTTPRouteMatch
from tiphys.addons.gateway.types.shared import HeaderMatch, HTTPHeaderFilter
from tiphys.machinery import durations

_MILLION = 1_000_000


class Unsupported(Exception):
    """A value that the specification lets us refuse: the route is not accepted."""


@dataclass
class Compiled:
    """`rules` are for HTTP, `backends` for TCP; `resolved` is the condition ResolvedRefs."""

    rules: list[Rule] = field(default_factory=list)
    backends: list[Backend] = field(default_factory=list)
    problems: list[Unresolved] = field(default_factory=list)

    @property
    def resolved(self) -> Verdict:
        for problem in self.problems:
            if problem.reason != "ResolvedRefs":
                return Verdict("ResolvedRefs", False, problem.reason, str(problem))
        return Verdict("ResolvedRefs", True, "ResolvedRefs")


def compile_route(route: Route, resolver: Resolver, gateways: set[str]) -> Compiled:
    """`gateways` (``namespace/name``) are those that serve it. Raises Unsupported."""
    compiled = Compiled()
    compiler = _Compiler(route, resolver, gateways, compiled)
    for rule in route.spec.rules:
        if route.kind in ("HTTPRoute", "GRPCRoute"):
            compiled.rules.extend(compiler.http(rule))
        else:
            compiled.backends.extend(compiler.backends(rule.backend_refs))
    return compiled


class _Compiler:
    def __init__(
        self, route: Route, resolver: Resolver, gateways: set[str], compiled: Compiled
    ) -> None:
        self._route = route
        self._resolver = resolver
        self._gateways = gateways
        self._compiled = compiled

    def http(self, rule: Any) -> Iterable[Rule]:
        """A rule for each match; none is a match of everything."""
        filtered_rule = self._filtered(
            Rule(backends=self.backends(rule.backend_refs)), rule.filters
        )
        timeouts = getattr(rule, "timeouts", None)
        if timeouts is not None:
            filtered_rule = replace(
                filtered_rule,
                timeout=seconds(timeouts.request),
                attempt_timeout=seconds(timeouts.backend_request),
            )
        read = _grpc_match if self._route.kind == "GRPCRoute" else _http_match
        return [replace(filtered_rule, match=match) for match in map(read, rule.matches)] or [
            filtered_rule
        ]

    def backends(self, refs: Iterable[Any]) -> tuple[Backend, ...]:
        return tuple(self._backend(ref) for ref in refs)

    def _backend(self, ref: Any) -> Backend:
        try:
            target = self._resolver.target(self._route, ref, self._gateways)
        except Unresolved as problem:
            self._compiled.problems.append(problem)
            target = None
        backend = Backend(target, ref.weight)
        for filter_ in getattr(ref, "filters", ()):
            if filter_.type == "RequestHeaderModifier":
                backend = replace(backend, request=_headers(filter_.request_header_modifier))
            elif filter_.type == "ResponseHeaderModifier":
                backend = replace(backend, response=_headers(filter_.response_header_modifier))
            elif filter_.type == "URLRewrite" and filter_.url_rewrite.path is None:
                backend = replace(backend, hostname=filter_.url_rewrite.hostname or "")
            else:
                raise Unsupported(f"filter {filter_.type} of a single backend is not served")
        return backend

    def _filtered(self, rule: Rule, filters: Iterable[Any]) -> Rule:
        for filter_ in filters:
            if filter_.type == "RequestHeaderModifier":
                rule = replace(rule, request=_headers(filter_.request_header_modifier))
            elif filter_.type == "ResponseHeaderModifier":
                rule = replace(rule, response=_headers(filter_.response_header_modifier))
            elif filter_.type == "RequestRedirect":
                rule = replace(rule, redirect=_redirect(filter_.request_redirect))
            elif filter_.type == "URLRewrite":
                rewrite = filter_.url_rewrite
                rule = replace(rule, hostname=rewrite.hostname or "", path=_rewrite(rewrite.path))
            elif filter_.type == "RequestMirror":
                rule = replace(rule, mirrors=(*rule.mirrors, *self._mirror(filter_.request_mirror)))
            elif filter_.type == "CORS":
                rule = replace(rule, cors=_cors(filter_.cors))
            else:
                raise Unsupported(f"filter {filter_.type} is not served")
        return rule

    def _mirror(self, mirror: Any) -> Iterable[Mirror]:
        try:
            target = self._resolver.target(self._route, mirror.backend_ref, self._gateways)
        except Unresolved as problem:
            self._compiled.problems.append(problem)
            return
        share = _MILLION
        if mirror.percent is not None:
            share = mirror.percent * _MILLION // 100
        elif mirror.fraction is not None:
            share = round(_MILLION * mirror.fraction.numerator / mirror.fraction.denominator)
        yield Mirror(target, share)


def _http_match(match: HTTPRouteMatch) -> Match:
    path = PathMatch()
    if match.path is not None:
        kind = {"PathPrefix": "Prefix"}.get(match.path.type, match.path.type)
        path = PathMatch(kind, match.path.value or "/")  # type: ignore[arg-type]
        if path.kind == "RegularExpression":
            _checked(path.value)
    query = [NamedMatch(one.name, one.type, _value(one)) for one in match.query_params]
    return Match(path, match.method or "", _named(match.headers), _first(query))


def _grpc_match(match: GRPCRouteMatch) -> Match:
    return Match(_grpc_path(match), "", _named(match.headers))


def _grpc_path(match: GRPCRouteMatch) -> PathMatch:
    """gRPC calls a path of a service and a method."""
    called = match.method
    if called is None or not (called.service or called.method):
        return PathMatch()
    service = called.service or ""
    method = called.method or ""
    if called.type == "RegularExpression":
        pattern = f"/{service or '[^/]+'}/{method or '[^/]+'}"
        return PathMatch("RegularExpression", _checked(pattern))
    if service and method:
        return PathMatch("Exact", f"/{service}/{method}")
    if service:
        return PathMatch("Prefix", f"/{service}")
    return PathMatch("RegularExpression", f"/[^/]+/{re.escape(method)}")


def _named(headers: Iterable[HeaderMatch]) -> tuple[NamedMatch, ...]:
    return _first(NamedMatch(one.name.lower(), one.type, _value(one)) for one in headers)


def _first(matches: Iterable[NamedMatch]) -> tuple[NamedMatch, ...]:
    """Of several for one name the first counts."""
    by_name: dict[str, NamedMatch] = {}
    for match in matches:
        by_name.setdefault(match.name, match)
    return tuple(by_name.values())


def _value(match: Any) -> str:
    return _checked(match.value) if match.type == "RegularExpression" else str(match.value)


@functools.lru_cache(4096)
def _checked(pattern: str) -> str:
    """As Envoy reads it, which refuses a whole configuration for one bad expression. Raises
    Unsupported."""
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except re2.error:
        raise Unsupported(f"{pattern!r} is no regular expression of RE2") from None
    return pattern


def _headers(change: HTTPHeaderFilter | None) -> HeaderChange:
    if change is None:
        return NO_CHANGE
    return HeaderChange(
        tuple((one.name, _one_line(one.value)) for one in change.set),
        tuple((one.name, _one_line(one.value)) for one in change.add),
        tuple(change.remove),
    )


def _redirect(redirect: Any) -> Redirect:
    return Redirect(
        redirect.scheme or "",
        redirect.hostname or "",
        redirect.port or 0,
        _rewrite(redirect.path),
        redirect.status_code,
    )


def _rewrite(path: HTTPPathModifier | None) -> PathRewrite | None:
    if path is None:
        return None
    if path.type == "ReplaceFullPath":
        return PathRewrite(_one_line(path.replace_full_path or "/"), prefix=False)
    return PathRewrite(_one_line(path.replace_prefix_match or "/"), prefix=True)


def _one_line(text: str) -> str:
    """As a header can hold it. The schema lets line breaks through; Envoy would refuse everything.
    Raises Unsupported."""
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise Unsupported(f"{text!r} has control characters")
    return text


def _cors(cors: Any) -> Cors:
    return Cors(
        tuple(cors.allow_origins),
        tuple(cors.allow_methods),
        tuple(cors.allow_headers),
        tuple(cors.expose_headers),
        bool(cors.allow_credentials),
        cors.max_age,
    )


def seconds(duration: str | None) -> float:
    """Of a duration of Gateway API (GEP-2257), such as ``1m30s``: a part of Go's syntax, as its
    schema checks. 0 for None, and for what is no duration."""
    try:
        return durations.seconds(duration or "0")
    except durations.DurationError:
        return 0.0
