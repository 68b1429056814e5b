"""Names of hosts: as expressions, as those inside, as those outside that may be called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from tiphys.addons.routeserver.eskip import Call, Route

_NOT_A_WORD = re.compile(r"[^0-9A-Za-z_]")


def symbol(text: str) -> str:
    """A part of a route's id."""
    return _NOT_A_WORD.sub("_", text)


def pattern(*hosts: str) -> str:
    """The expression that takes these hosts, with a dot or a port behind them."""
    names = "|".join(host.replace(".", "[.]") + "[.]?(:[0-9]+)?" for host in hosts)
    return f"^({names})$" if hosts else ""


def host(*hosts: str) -> Call:
    return Call("Host", (pattern(*hosts),))


def is_inside(name: str, domains: Iterable[str]) -> bool:
    return any(name.endswith(domain) for domain in domains)


def is_allowed(name: str, allowed: Sequence[str] | None) -> bool:
    """Whether a host outside may be a backend."""
    return allowed is None or any(re.search(expression, name) for expression in allowed)


def is_allowed_address(address: str, allowed: Sequence[str] | None) -> bool:
    try:
        name = urlsplit(address).hostname or ""
    except ValueError:
        return False
    return is_allowed(name, allowed)


def inside_route(route: Route, name: str) -> Route:
    """The route once more, for a host inside."""
    changed = replace(route, id="kubeew" + route.id.removeprefix("kube"))
    return changed.without("Host").where(host(name))
