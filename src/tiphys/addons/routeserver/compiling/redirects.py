"""Routes that send http to https: what an object's annotations request, and the routes beside its
own."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tiphys.addons.routeserver.compiling.objects import Metadata
from tiphys.addons.routeserver.eskip import Backend, Call, Route

_ENABLED = "zalando.org/skipper-ingress-redirect"
_CODE = "zalando.org/skipper-ingress-redirect-code"
_ASKING = ("zalando.org/skipper-predicate", "zalando.org/skipper-routes")
_PROTOCOL = "X-Forwarded-Proto"
_WEIGHT = Call("Weight", (1000.0,))  # matched before the routes that it stands for
_HTTP = Call("Header", (_PROTOCOL, "http"))


@dataclass(frozen=True)
class Redirect:
    """What one object wants. `wanted` is None where none of its routes say anything of it."""

    wanted: bool | None
    code: int


def of_object(metadata: Metadata, default: bool, default_code: int) -> Redirect:
    """As annotations say. An object whose predicates look at the protocol handles it itself."""
    enabled = metadata.annotation(_ENABLED)
    if enabled in ("true", "false"):
        return Redirect(enabled == "true", _code(metadata, default_code))
    return Redirect(True if default else None, _code(metadata, default_code))


def handles_protocol(metadata: Metadata) -> bool:
    return any(f'Header("{_PROTOCOL}"' in metadata.annotation(key) for key in _ASKING)


def _code(metadata: Metadata, default: int) -> int:
    text = metadata.annotation(_CODE)
    code = int(text) if text.isascii() and text.isdigit() and len(text) == 3 else default
    return code if 300 <= code < 400 else default


def global_route(code: int) -> Route:
    """For requests that no host takes."""
    return Route("kube__redirect", (_WEIGHT, _HTTP), (_to_https(code),))


def to_https(route: Route, code: int) -> Route:
    """Beside a route of an Ingress: matched first, for http alone."""
    changed = replace(
        route, id=f"{route.id}_https_redirect", filters=(_to_https(code),), backend=Backend("shunt")
    )
    return _first(changed)


def stays_http(route: Route) -> Route:
    """Beside a route of an Ingress that wants no redirect where others have one."""
    return _first(replace(route, id=f"{route.id}_disable_https_redirect"))


def _first(route: Route) -> Route:
    return replace(route, predicates=(_WEIGHT, *route.predicates)).where(_HTTP)


def group_to_https(route: Route, code: int) -> Route:
    """Beside a route of a RouteGroup."""
    changed = replace(
        route, id=f"{route.id}_https_redirect", filters=(_to_https(code),), backend=Backend("shunt")
    )
    return changed.where(_HTTP)


def looks_at_protocol(route: Route) -> bool:
    names = ("Header", "HeaderRegexp")
    return any(call.name in names and call.args[:1] == (_PROTOCOL,) for call in route.predicates)


def _to_https(code: int) -> Call:
    return Call("redirectTo", (float(code), "https:"))
