"""What a request asks for, read off its method, path and query."""

from __future__ import annotations

import random
import re
import time
from collections.abc import MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

from tiphys.api.catalog import Resource
from tiphys.machinery import errors
from tiphys.machinery.names import path_segment_errors
from tiphys.machinery.query import truth
from tiphys.machinery.selectors import SelectorError, parse_fields

AUDIT_ID = "Audit-Id"

_warnings: ContextVar[list[str] | None] = ContextVar("warnings", default=None)
_record: ContextVar[Any] = ContextVar("record", default=None)  # of audit.records.Record


class Notes(list[str]):
    """The warnings of a request, and how many seconds it has waited for others: webhooks, and a
    seat."""

    waited = 0.0


def _random_uuid() -> str:
    """Of version 4. It need not be unguessable, and each request has one: this takes a
    quarter of what `uuid.uuid4` does."""
    digits = f"{random.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def collect_warnings(into: list[str]) -> None:
    """From here on, in this task, `warn` adds to `into`."""
    _warnings.set(into)


def waited(began: float) -> float:
    """Notes that the request has waited for others since then, a time of
    `time.perf_counter`; returns how long."""
    spent = time.perf_counter() - began
    into = _warnings.get()
    if isinstance(into, Notes):
        into.waited += spent
    return spent


def warn(text: str) -> None:
    """Adds a sentence to the Warning header of the request that is being answered."""
    into = _warnings.get()
    if into is not None:
        add_warning(into, text)


_MOST_WARNINGS = 500  # that are kept: about 20 of them fit into an answer


def add_warning(into: list[str], text: str) -> None:
    """Adds those that are new."""
    if len(into) < _MOST_WARNINGS and text not in into:
        into.append(text)


def collect_annotations(record: Any) -> None:
    """From here on, in this task, `annotate` adds to the record of the request."""
    _record.set(record)


def annotate(key: str, value: str, with_objects: bool = False) -> None:
    """Adds to the audit annotations of the current request. `with_objects`: only
    to those that record objects, too."""
    record = _record.get()
    if record is not None and (record.wants_request or not with_objects):
        record.annotate(key, value)


def annotate_more(key: str, value: str) -> None:
    """As `annotate`; values that come later are added to those before."""
    record = _record.get()
    if record is not None:
        before = record.annotations.get(key, value)
        record.annotations[key] = value if before == value else f"{before}, {value}"


def note_impersonation(user: User, constraint: str) -> None:
    """Notes for audit events whom the request acts as, and by which right (`impersonate:MODE`)."""
    record = _record.get()
    if record is not None:
        record.impersonates(user, constraint)


@dataclass(frozen=True, slots=True)
class User:
    """Who asks. `extra` and `uid` come with tokens and certificates that carry them."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: dict[str, list[str]] = field(default_factory=dict)


AUTHENTICATED = "system:authenticated"
ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))
MASTERS = "system:masters"
SYSTEM = User("system:apiserver", (MASTERS, "system:authenticated"))


_LONG_PATH = 1024  # characters, more than names, groups and so on come to


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
    by_path: bool = False  # whether the path starts with `watch`, the deprecated form

    @property
    def is_long(self) -> bool:
        """Whether it is too long for a cache key: without a login, a client could fill a cache with
        20,000 paths of a megabyte."""
        return len(self.path) > _LONG_PATH

    @property
    def path_name(self) -> str:
        """The name in the path; `name` may be a field selector's instead."""
        return self.parts[1] if len(self.parts) > 1 else ""


_VERBS = {
    "GET": "get",
    "HEAD": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
_NAMESPACE_SUBRESOURCES = frozenset(("status", "finalize"))


def parse(method: str, path: str, query: dict[str, str]) -> RequestInfo:
    """Names the request.

    A path that is no resource keeps the method as its verb, as RBAC expects.
    """
    info = RequestInfo(path, method.lower())
    if "%" in path:  # before it is split, as upstream does: no name holds a slash
        path = unquote(path)
    if "/namespaces//" in path:  # no namespace, as some clients write it
        path = path.replace("/namespaces//", "/", 1)
    parts = [part for part in path.split("/") if part]
    if not parts or parts[0] not in ("api", "apis") or len(parts) < (3 if parts[0] == "api" else 4):
        return info
    info.is_resource = True
    info.prefix = parts[0]
    if parts[0] == "apis":
        info.group = parts[1]
        parts = parts[1:]
    info.version = parts[1]
    parts = parts[2:]
    info.verb = _VERBS.get(method, "")
    if parts[0] == "watch" and len(parts) > 1:
        info.verb = "watch"
        info.by_path = True
        parts = parts[1:]
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
    """A read without a name is a list, or a watch if the query asks for one; with a name it is a
    get in any case.
    """
    if info.name:
        return
    if info.verb == "get":
        info.verb = "watch" if truth(query.get("watch")) else "list"
        selector = query.get("fieldSelector", "")
        if "metadata.name" in selector:
            info.name = _selected_name(selector)
    elif info.verb == "delete":
        info.verb = "deletecollection"


LONG_SELECTOR = 2048
"""Characters beyond which a selector is not looked into to find out who may ask for it: reading it
would take time.
"""


def _selected_name(selector: str) -> str:
    """The one name that a field selector leaves, for rules with `resourceNames`; empty when there
    is none.
    """
    if len(selector) > LONG_SELECTOR:
        return ""
    try:
        name = parse_fields(selector).exact("metadata.name") or ""
    except SelectorError:
        return ""
    return "" if path_segment_errors(name) else name


def whole_number(text: str) -> int:
    """The number a query parameter holds. Raises 400 in the words of upstream's converter."""
    digits = text[text[:1] in ("-", "+") :]
    if not digits.isascii() or not digits.isdigit():
        raise errors.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    if len(digits) > 18:
        raise errors.bad_request(f'strconv.ParseInt: parsing "{text}": value out of range')
    return int(text)


MAX_BODY = 3 * 1024 * 1024  # bytes, as upstream's limit for requests
_SHOWN = 100  # characters of a bad path that are shown
_NO_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_MOST_PARAMETERS = 1000  # commands of kubectl exec are the longest: one parameter for each word


def target(text: str) -> tuple[str, str]:
    """(path, query) of a request line. Raises 400 for a path with an escape that is none."""
    path, _, query = text.partition("?")
    if path[:1] != "/":  # as one writes to a proxy: ``http://HOST/PATH``
        scheme, separator, rest = path.partition("://")
        if separator and scheme.isalpha():
            path = f"/{rest.partition('/')[2]}"
    if "%" in path and _NO_ESCAPE.search(path):
        raise errors.bad_request(f"the path has an escape that is none: {path[:_SHOWN]}")
    return path, query


def parse_query(text: str) -> dict[str, str]:
    """The first value of each parameter; what cannot be read is left out, as Go does. Raises 400
    for very many."""
    if ";" in text or ("%" in text and _NO_ESCAPE.search(text)):
        pairs = text.split("&")
        text = "&".join(pair for pair in pairs if ";" not in pair and not _NO_ESCAPE.search(pair))
    try:
        rows = (
            parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS) if text else []
        )
    except ValueError:
        raise errors.bad_request(f"more than {_MOST_PARAMETERS} query parameters") from None
    return dict(reversed(rows))


@dataclass(slots=True)
class Document:
    """A body in YAML that has been read: as JSON, what strict decoding objects to, or why it could
    not be read.
    """

    json: bytes = b"null"
    problems: list[str] = field(default_factory=list)
    error: str = ""


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
    warnings: Notes = field(default_factory=Notes)
    flow: Any = None  # of prioritylevel.Flow
    record: Any = None  # of audit.records.Record, where the request is audited
    document: Document | None = None  # of a body in YAML
    selectors: dict[str, Any] = field(
        default_factory=dict
    )  # parameter → what was read of a long one
    seat: Any = NoSeat()  # noqa: RUF009 (it has no state); of fairness.Seat: what is long and done may give it back early

    @property
    def dry_run(self) -> bool:
        return self.query.get("dryRun") == "All"

    @property
    def audit_id(self) -> str:
        """What names the request in logs, as a header may have it: the client's own name for it, or
        a new one. Bytes that are no UTF-8 are dropped."""
        own: str = self.http.headers.get(AUDIT_ID, "")
        return own.encode(errors="replace").decode() if own else _random_uuid()

    def describe(self, headers: MutableMapping[str, str]) -> None:
        """Adds to an answer's headers what is the request's own."""
        headers[AUDIT_ID] = self.record.header if self.record is not None else self.audit_id
        if self.flow is not None:
            headers.update(self.flow.headers)

    def flag(self, name: str) -> bool:
        return truth(self.query.get(name))
