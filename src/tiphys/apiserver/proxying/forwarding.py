"""Requests passed on to other servers: which headers go along, what of a name is a port, how
answers come back."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

import aiohttp
import yarl
from aiohttp import web
from multidict import CIMultiDict

from tiphys.apiserver.http.request import Call, RequestInfo
from tiphys.apiserver.proxying.links import MOST, Rewriter, unpacked
from tiphys.client.upgrade import request_head, splice
from tiphys.machinery import errors, goformat
from tiphys.machinery.addresses import authority

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
# A WebSocket client may carry its token in a subprotocol with this prefix.
TOKEN_PROTOCOL = "base64url.bearer.authorization.k8s.io."

# Headers between the client and this server alone: the connection's, and who the client is.
_HOP = frozenset(
    (
        "connection",
        "proxy-connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "host",
        "content-length",
        "content-encoding",
    )
)
_OURS = ("impersonate-", "x-remote-")
_OF_ANSWERS = frozenset(
    ("connection", "transfer-encoding", "keep-alive", "content-length", "upgrade", "trailer")
)
_SAFE = "/%:@!$&()*+,;=~-._'"  # of a path, beside letters and digits


def without_identity(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers without those of the client's identity and impersonation: the server behind
    the proxy must not be able to act as the client."""
    kept = []
    for name, value in headers:
        lower = name.lower()
        if lower == "authorization" or lower.startswith(_OURS):
            continue
        if lower == "sec-websocket-protocol" and TOKEN_PROTOCOL in value:
            protocols = [protocol.strip() for protocol in value.split(",")]
            value = ", ".join(
                protocol for protocol in protocols if not protocol.startswith(TOKEN_PROTOCOL)
            )
            if not value:
                continue
        kept.append((name, value))
    return kept


def passed_headers(call: Call) -> list[tuple[str, str]]:
    """What of a request's headers goes along: not what is between the client and this server
    alone."""
    listed = call.http.headers.getall("Connection", [])
    named = {name.strip().lower() for value in listed for name in value.split(",")}
    kept = without_identity(call.http.headers.items())
    return [
        (name, value)
        for name, value in kept
        if name.lower() not in _HOP and name.lower() not in named
    ]


@dataclass(frozen=True)
class Named:
    """The parts of a proxied name: ``[scheme:]name[:port]``."""

    scheme: str
    name: str
    port: str


def split_name(text: str, kind: str) -> Named:
    """Raises 400. `kind` is pod, service or node."""
    parts = text.split(":")
    scheme = parts.pop(0) if len(parts) == 3 else ""
    name = parts.pop(0)
    port = parts.pop(0) if parts else ""
    if parts or not name or scheme not in ("", "http", "https"):
        raise errors.bad_request(f"invalid {kind} request {goformat.quoted(text)}")
    return Named(scheme or "http", name, port)


def port_number(text: str) -> int:
    """Raises 503, as a connection to such a port would."""
    if not (text.isascii() and text.isdigit()):
        raise errors.unavailable(
            f"error trying to reach service: dial tcp: lookup tcp/{text}: unknown port"
        )
    if len(text) > 5 or not 0 < int(text) < 1 << 16:
        raise errors.unavailable(
            f"error trying to reach service: dial tcp: address {text}: invalid port"
        )
    return int(text)


def split_path(info: RequestInfo) -> tuple[str, str]:
    """(path of the proxy, path behind it as it was written, with its slash). Raises 404."""
    segments = (3 if info.group else 2) + info.by_path + (2 if info.namespace else 0) + 3
    head = re.match(rf"(?:/+[^/]+){{{segments}}}", info.path)
    # It ends otherwise after an encoded slash, or something else that a name cannot hold.
    if head is None or not head[0].endswith("/proxy"):
        raise errors.page_not_found()
    return head[0], info.path[head.end() :]


def quoted_path(path: str) -> str:
    return quote(path.encode("utf-8", "surrogateescape"), safe=_SAFE)


def raw_target(text: str) -> str:
    """A path with its query as it goes into a request. What follows a `#` is a part of it, as here,
    and no fragment, which would stay behind."""
    return text.replace("#", "%23")


def new_session() -> aiohttp.ClientSession:
    """Connections of the server for its clients. It keeps no cookies: those of one would be sent
    for another."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
    )


@dataclass(frozen=True)
class Backend:
    """Where an upgraded connection leads. `tls` is None for plain connections."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    server_name: str | None


async def tunnel(
    call: Call, backend: Backend, target: str, extra: list[tuple[str, str]]
) -> web.StreamResponse:
    """Passes a request for an upgrade (WebSocket, SPDY) on, and joins the connections when it is
    granted.

    `target` is the path with its query, `extra` are headers that this server adds. Raises 500 when
    there is no server at the other end.
    """
    server_name = backend.server_name if backend.tls is not None else None
    try:
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection(
                backend.host, backend.port, ssl=backend.tls, server_hostname=server_name
            )
    except (TimeoutError, OSError) as error:
        raise errors.internal(f"error dialing backend: {error}") from None
    headers = CIMultiDict([*passed_headers(call), *extra])
    headers["Connection"] = "Upgrade"
    headers["Upgrade"] = call.http.headers["Upgrade"]
    host = authority(backend.host, backend.port)
    writer.write(request_head(call.http.method, target, host, headers))
    on_start = call.record.started if call.record is not None else None
    await splice(call.http, reader, writer, on_start)
    return web.StreamResponse()


async def relay(
    session: aiohttp.ClientSession,
    call: Call,
    url: yarl.URL,
    extra: list[tuple[str, str]],
    tls: ssl.SSLContext,
    server_name: str | None,
    links: Rewriter | None = None,
) -> web.StreamResponse:
    """Passes a request on and its answer back, as it comes, but for the links that `links`
    rewrites. `extra` are headers that this server adds: who asks, for servers that believe it.
    Redirects are the client's to follow. Raises 503."""
    method = call.http.method
    data = await call.http.read() if method not in ("GET", "HEAD") else None
    try:
        answer = await session.request(
            method,
            url,
            headers=[*passed_headers(call), *extra],
            data=data or None,
            ssl=tls,
            server_hostname=server_name,
            allow_redirects=False,
            # headers that the client did not send
            skip_auto_headers=("Content-Type", "User-Agent"),
        )
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
        raise errors.unavailable(f"error trying to reach service: {error}") from None
    async with answer:
        response = web.StreamResponse(status=answer.status)
        for key, value in answer.headers.items():
            if key.lower() not in _OF_ANSWERS:
                response.headers.add(key, value)
        if links is not None and "Location" in answer.headers:
            response.headers["Location"] = links.url(answer.headers["Location"])
        elif links is not None and method != "HEAD" and answer.content_type == "text/html":
            return await _page(call, answer, response, links)
        length = answer.headers.get("Content-Length", "")
        if length.isascii() and length.isdigit():
            response.content_length = int(length)
        await response.prepare(call.http)
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
    return response


async def _page(
    call: Call, answer: aiohttp.ClientResponse, response: web.StreamResponse, links: Rewriter
) -> web.StreamResponse:
    """A page of HTML, whole when it is not too large: its links are not known before it is here."""
    body = b""
    with contextlib.suppress(ConnectionError, aiohttp.ClientError):
        while len(body) <= MOST and (chunk := await answer.content.readany()):
            body += chunk
    if len(body) <= MOST:
        # On a thread: the event loop goes on meanwhile.
        changed = await asyncio.to_thread(
            _rewritten, body, answer.headers.get("Content-Encoding", ""), links
        )
        if changed is not None:
            body = changed
            response.headers.pop("Content-Encoding", None)
        response.content_length = len(body)
    await response.prepare(call.http)
    with contextlib.suppress(ConnectionError, aiohttp.ClientError):
        await response.write(body)
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
    return response


def _rewritten(body: bytes, encoding: str, links: Rewriter) -> bytes | None:
    plain = unpacked(body, encoding)
    if plain is None:
        return None
    return links.page(plain.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
