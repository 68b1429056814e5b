"""What a route does with a request: its filters, and a call of its backend.

Of Skipper's filters these do something: status, inlineContent, redirectTo, setPath, set-, append-
and drop- of request and response headers. Others are passed over.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from tiphys.addons.routeserver.eskip import Route

_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
_RESPONSE_ONLY = _HOP | {"content-length", "content-encoding"}
_TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=5)


@dataclass
class Exchange:
    """A request on its way, as filters have changed it, and the answer where a filter gives one."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    status: int = 404
    content: str = ""
    response_headers: dict[str, str] = field(default_factory=dict)


def apply_filters(route: Route, exchange: Exchange) -> None:
    for call in route.filters:
        action = _FILTERS.get(call.name)
        if action is not None:
            action(exchange, *map(_text, call.args))


def _text(argument: str | float) -> str:
    return argument if isinstance(argument, str) else f"{argument:g}"


def _status(exchange: Exchange, code: str) -> None:
    exchange.status = int(code)


def _inline_content(exchange: Exchange, content: str, kind: str = "text/plain") -> None:
    exchange.content = content
    exchange.response_headers["Content-Type"] = kind
    if exchange.status == HTTPStatus.NOT_FOUND:
        exchange.status = HTTPStatus.OK


def _redirect_to(exchange: Exchange, code: str, location: str = "") -> None:
    exchange.status = int(code)
    target = urlsplit(location)
    host = target.netloc or exchange.headers.get("Host", "")
    query = f"?{exchange.query}" if exchange.query else ""
    scheme = target.scheme or "http"
    exchange.response_headers["Location"] = (
        f"{scheme}://{host}{target.path or exchange.path}{query}"
    )


def _set_path(exchange: Exchange, path: str) -> None:
    exchange.path = path


def _set_request_header(exchange: Exchange, name: str, value: str) -> None:
    exchange.headers[name.title()] = value


def _drop_request_header(exchange: Exchange, name: str) -> None:
    exchange.headers.pop(name.title(), None)


def _set_response_header(exchange: Exchange, name: str, value: str) -> None:
    exchange.response_headers[name] = value


_FILTERS: dict[str, Callable[..., None]] = {
    "status": _status,
    "inlineContent": _inline_content,
    "redirectTo": _redirect_to,
    "setPath": _set_path,
    "setRequestHeader": _set_request_header,
    "dropRequestHeader": _drop_request_header,
    "setResponseHeader": _set_response_header,
}


class Backends:
    """Calls backends over connections that stay open; endpoints of one route take turns."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._turn = itertools.count()

    async def answer(
        self, route: Route, exchange: Exchange, body: aiohttp.StreamReader | None
    ) -> web.Response:
        apply_filters(route, exchange)
        address = self._address(route)
        if not address:
            return web.Response(
                status=exchange.status, text=exchange.content, headers=exchange.response_headers
            )
        query = f"?{exchange.query}" if exchange.query else ""
        try:
            async with self._session.request(
                exchange.method,
                f"{address}{exchange.path}{query}",
                headers=exchange.headers,
                data=body,
                allow_redirects=False,
                timeout=_TIMEOUT,
            ) as answer:
                content = await answer.read()
                headers = {**_passed(answer.headers), **exchange.response_headers}
                return web.Response(status=answer.status, body=content, headers=headers)
        except TimeoutError:
            return web.Response(status=504)
        except (aiohttp.ClientError, OSError):
            return web.Response(status=502)

    def _address(self, route: Route) -> str:
        if route.backend.kind == "network":
            return route.backend.address
        if route.backend.kind != "lb":
            return ""
        endpoints = route.backend.endpoints
        return endpoints[next(self._turn) % len(endpoints)].address


def _passed(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _RESPONSE_ONLY}


def exchange_of(request: web.BaseRequest) -> Exchange:
    """The request as it goes on, without what belongs to its own connection."""
    headers = {
        name.title(): value for name, value in request.headers.items() if name.lower() not in _HOP
    }
    headers.pop("Content-Length", None)
    return Exchange(request.method, request.path, request.query_string, headers)
