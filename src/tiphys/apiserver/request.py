"""What a request asks for, read off its method, path and query."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

from tiphys.api.catalog import Resource
from tiphys.machinery import errors
from tiphys.machinery.query import truth

_warnings: ContextVar[list[str] | None] = ContextVar("warnings", default=None)


def collect_warnings(into: list[str]) -> None:
    """From here on, in this task, `warn` adds to `into`."""
    _warnings.set(into)


def warn(text: str) -> None:
    """Adds a sentence to the Warning header of the request that is being answered."""
    into = _warnings.get()
    if into is not None and text not in into:
        into.append(text)


@dataclass(slots=True)
class User:
    """Who asks. `extra` and `uid` come with tokens and certificates that carry them."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: dict[str, list[str]] = field(default_factory=dict)


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))
MASTERS = "system:masters"
SYSTEM = User("system:apiserver", (MASTERS, "system:authenticated"))


@dataclass(slots=True)
class RequestInfo:
    """The parts of the path as authorization and routing see them."""

    path: str
    verb: str
    is_resource: bool = False
    prefix: str = ""
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    parts: tuple[str, ...] = ()


_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_NAMESPACE_SUBRESOURCES = frozenset(("status", "finalize"))


def parse(method: str, path: str, query: dict[str, str]) -> RequestInfo:
    """Names the request. A path that is no resource keeps the method as its verb, as RBAC expects."""
    info = RequestInfo(path, method.lower())
    if "/namespaces//" in path:  # no namespace, as some clients write it
        path = path.replace("/namespaces//", "/", 1)
    parts = [unquote(part) if "%" in part else part for part in path.split("/") if part]
    if not parts or parts[0] not in ("api", "apis") or len(parts) < (3 if parts[0] == "api" else 4):
        return info
    info.is_resource, info.prefix = True, parts[0]
    if parts[0] == "apis":
        info.group = parts[1]
        parts = parts[1:]
    info.version, parts = parts[1], parts[2:]
    info.verb = _VERBS.get(method, "")
    if parts[0] == "watch" and len(parts) > 1:
        info.verb, parts = "watch", parts[1:]
    if parts[0] == "namespaces":
        if len(parts) > 1:
            info.namespace = parts[1]
        if len(parts) > 2 and parts[2] not in _NAMESPACE_SUBRESOURCES:
            parts = parts[2:]
    info.resource = parts[0]
    info.name = parts[1] if len(parts) > 1 else ""
    info.subresource = parts[2] if len(parts) > 2 else ""
    info.parts = tuple(parts)
    if method != "HEAD":
        _name_collection_verb(info, query)
    elif not info.name:
        info.verb = "list"
    return info


def _name_collection_verb(info: RequestInfo, query: dict[str, str]) -> None:
    if info.name:
        if info.verb == "get" and truth(query.get("watch")) and not info.subresource:
            info.verb = "watch"
        return
    if info.verb == "get":
        info.verb = "watch" if truth(query.get("watch")) else "list"
        selector = query.get("fieldSelector", "")
        if selector.startswith("metadata.name=") and "," not in selector:
            info.name = selector[len("metadata.name=") :].lstrip("=")
    elif info.verb == "delete":
        info.verb = "deletecollection"


def whole_number(text: str) -> int:
    """The number a query parameter holds. Raises 400 in the words of upstream's converter."""
    digits = text[text[:1] in ("-", "+") :]
    if not digits.isascii() or not digits.isdigit():
        raise errors.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    if len(digits) > 18:
        raise errors.bad_request(f'strconv.ParseInt: parsing "{text}": value out of range')
    return int(text)


def parse_query(text: str) -> dict[str, str]:
    """The first value of each parameter."""
    return dict(reversed(parse_qsl(text, keep_blank_values=True))) if text else {}


class NoSeat:
    """What a request has that takes no seat of its priority level."""

    def release(self) -> None:
        pass


@dataclass(slots=True)
class Call:
    """One request on its way through the server."""

    info: RequestInfo
    user: User
    query: dict[str, str]
    query_text: str
    http: Any  # aiohttp's request, None for calls from within
    resource: Resource | None = None
    warnings: list[str] = field(default_factory=list)
    flow: Any = None  # of fairness.Flow
    seat: Any = NoSeat()  # noqa: RUF009 (it has no state); of fairness.Seat: what is long and done may give it back early

    @property
    def dry_run(self) -> bool:
        return self.query.get("dryRun") == "All"

    def flag(self, name: str) -> bool:
        return truth(self.query.get(name))
