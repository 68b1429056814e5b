"""What is read off a request before it is answered: who sends it, what it asks for, and how long
it may take. Pure."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import Any

from aiohttp import hdrs, web

from tiphys.apiserver.access.asked import Asked
from tiphys.apiserver.access.nodeauthorizer import GROUP as NODES
from tiphys.apiserver.http.request import (
    Call,
    RequestInfo,
    User,
)
from tiphys.apiserver.proxying.forwarding import TOKEN_PROTOCOL
from tiphys.machinery import errors
from tiphys.machinery.cel import CelError
from tiphys.machinery.cel.conversions import parse_duration

UPGRADED = frozenset(("exec", "attach", "portforward"))
STREAMING = UPGRADED | {"proxy", "log"}
# Verbs for which a selector restricts what is requested.
_SELECTING = frozenset(("list", "watch", "deletecollection"))
PATIENCE = 60.0  # seconds that any request may take
MOST_OBJECTS = 150_000  # in a body: each takes a kilobyte or more, even an empty one
_TEXTS = re.compile(rb'"(?:[^"\\]|\\.)*"')


def impersonates(headers: Mapping[str, str]) -> bool:
    """A plain loop: every request passes here, and a generator costs more than its headers."""
    for name in headers:  # noqa: SIM110
        if name[:1] in "iI" and name.lower().startswith("impersonate-"):
            return True
    return False


def question_of(call: Call, user: User, with_selectors: bool = False) -> Asked:
    """What the authorizers are asked about the request. `with_selectors`: of any user's request;
    else they matter to the nodes' authorizer alone."""
    info = call.info
    if not info.is_resource:
        return Asked(info.verb, path=info.path)
    selects = info.verb in _SELECTING and not info.by_path
    fields = ""
    if selects and (with_selectors or NODES in user.groups):
        fields = call.query.get("fieldSelector", "")
    return Asked(
        info.verb,
        info.group,
        info.resource,
        info.subresource,
        info.namespace,
        info.name,
        version=info.version,
        fields=fields,
        labels=call.query.get("labelSelector", "") if selects and with_selectors else "",
    )


def size_of(request: Any, response: web.StreamResponse) -> int:
    """Bytes of an answer: of its body, or of what has been written if it went in pieces."""
    body = getattr(response, "body", None)
    if isinstance(body, bytes):
        return len(body)
    size: int = request._payload_writer.output_size
    return size


def attempted_ways(request: Any) -> list[str]:
    """The ways in which a request tried to authenticate, as upstream's audit names them."""
    header = request.headers.get(hdrs.AUTHORIZATION, "").strip().lower()
    ways = [way for way in ("basic", "bearer") if header.startswith(f"{way} ")]
    protocol = request.protocol
    return [*ways, "x509"] if protocol.certificate or protocol.certificate_fault else ways


def is_long(info: RequestInfo) -> bool:
    """Whether a request lasts as long as its client likes."""
    return info.verb == "watch" or info.subresource in STREAMING


def deadline(text: str) -> float:
    """Seconds of a `timeout` parameter, a Go duration; 0 is the server's own limit, and so is more
    than that.
    """
    try:
        seconds = parse_duration(text).total_seconds()
    except CelError:
        raise errors.bad_request(
            f'invalid timeout specified in the request URL - time: invalid duration "{text}"'
        ) from None
    return min(seconds, PATIENCE) if seconds > 0 else PATIENCE


def bearer(header: str) -> str:
    """The token in an Authorization header: its first word is the scheme, in any case, its second
    the token.
    """
    words = header.strip().split(" ")
    return words[1] if len(words) > 1 and words[0].lower() == "bearer" else ""


def websocket_token(request: web.BaseRequest) -> str:
    """Browsers cannot set headers on a WebSocket: the token may come as a subprotocol."""
    for name in request.headers.get("Sec-WebSocket-Protocol", "").split(","):
        if name.strip().startswith(TOKEN_PROTOCOL):
            import base64

            text = name.strip()[len(TOKEN_PROTOCOL) :]
            with contextlib.suppress(ValueError):
                return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    return ""


def check_objects(document: bytes) -> None:
    """Raises 413 for a document of very many objects: a million empty ones fit into a body,
    and a gigabyte and ten seconds go into them."""
    if document.count(b"{") > MOST_OBJECTS and _TEXTS.sub(b"", document).count(b"{") > MOST_OBJECTS:
        raise errors.too_large(f"the body has more than {MOST_OBJECTS} objects")
