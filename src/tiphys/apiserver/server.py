"""The HTTP front and the order in which a request passes through it.

1. name the request         request.parse
2. authenticate             certificate, token, anonymous; here its audit record begins
3. impersonate              if asked and allowed
4. read the body            of whoever may do what he asks for
5. wait for a seat          priority and fairness
   and authorize            RBAC and the node authorizer
6. route                    discovery and health, or a resource's verb
7. answer                   errors become a Status here and nowhere else
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from aiohttp import hdrs, web
from aiohttp.http_exceptions import PayloadEncodingError
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from tiphys.api.catalog import Resource, Subresource, storage_of
from tiphys.apiserver.access.authentication import Authenticator, InvalidToken
from tiphys.apiserver.access.authorization import Asked, Authorizer, refusal
from tiphys.apiserver.access.fairness import Fairness
from tiphys.apiserver.access.impersonation import Impersonation
from tiphys.apiserver.access.nodeauthorizer import GROUP as NODES
from tiphys.apiserver.audit.auditor import Auditor
from tiphys.apiserver.documents import discovery, openapi
from tiphys.apiserver.eventloop.aside import LARGE as LARGE_OBJECT
from tiphys.apiserver.eventloop.aside import Unanswered, answered, aside, weigh_body
from tiphys.apiserver.eventloop.places import Places
from tiphys.apiserver.eventloop.watchdog import Watchdog
from tiphys.apiserver.http import respond
from tiphys.apiserver.http.actions import Actions
from tiphys.apiserver.http.bulk import LARGE
from tiphys.apiserver.http.components import ComponentStatuses
from tiphys.apiserver.http.freshness import fresh
from tiphys.apiserver.http.metrics import RequestMetrics, StateCollector
from tiphys.apiserver.http.pages import VERSION, Pages, no_page
from tiphys.apiserver.http.reading import Reader
from tiphys.apiserver.http.request import (
    ANONYMOUS,
    MAX_BODY,
    Call,
    RequestInfo,
    User,
    annotate,
    collect_annotations,
    collect_warnings,
    parse,
    parse_query,
)
from tiphys.apiserver.http.routes import check_creatable, check_path, is_custom_path
from tiphys.apiserver.http.scales import Scales
from tiphys.apiserver.http.watching import begins_with_list
from tiphys.apiserver.http.writing import Writer
from tiphys.apiserver.parts import ServedGroup
from tiphys.apiserver.proxying.aggregation import Aggregator, Remote
from tiphys.apiserver.proxying.connect import Connector
from tiphys.apiserver.proxying.forwarding import TOKEN_PROTOCOL
from tiphys.apiserver.registry.registry import Registry
from tiphys.apiserver.registry.views import read_selectors
from tiphys.apiserver.resources.actions import Action
from tiphys.apiserver.resources.subresources import Connection, Part
from tiphys.machinery import decoding, errors
from tiphys.machinery.cel import CelError
from tiphys.machinery.cel.conversions import parse_duration
from tiphys.machinery.errors import StatusError
from tiphys.store.deadlines import Deadlines

log = logging.getLogger(__name__)

Handler = Callable[[Call, Resource], Awaitable[web.StreamResponse]]


class APIServer:
    """Answers requests.

    `ready` turns true once the store is open and the bootstrap objects are there.
    """

    def __init__(
        self,
        registry: Registry,
        authenticator: Authenticator,
        authorizer: Authorizer,
        connector: Connector,
        aggregator: Aggregator,
        groups: Mapping[str, ServedGroup],
        address: str,
        collectors: CollectorRegistry,
        audit: Auditor | None = None,
    ) -> None:
        self.collectors = collectors
        self.authenticator = authenticator
        self._authorizer = authorizer
        self._impersonation = Impersonation(authorizer)
        self.registry = registry
        self.address = address
        self._served = registry.served
        self._lags = registry.store.lags
        self.audit = audit
        self.metrics = RequestMetrics(collectors, self._served)
        self.reader = Reader(registry, self.metrics)
        self.discovery, self.documents = (
            discovery.Discovery(self._served, aggregator),
            openapi.OpenAPI(self._served, aggregator),
        )
        self._aggregator = aggregator
        self._groups = groups
        self._connector = connector
        self._actions = Actions(registry, authenticator, authorizer)
        self.fairness = Fairness(registry.store)
        self.watchdog = Watchdog()
        self.workers = registry.workers
        self._places = (Places(), Places())  # those of exempt levels are others
        self._receiving: dict[str, int] = {}  # account → bytes of the bodies that it is sending
        self._warm: set[int] = set()  # ids of the rows whose types have been read once
        self._deadlines = Deadlines(_PATIENCE)
        self.ready = False
        # What is wrong with KMS plugins; None where there are none.
        self.kms_faults: Callable[[], list[str]] | None = None
        self.leaving = False  # whether clients are told to take new connections
        collectors.register(
            StateCollector(
                VERSION,
                self.metrics,
                registry.store,
                self.reader.watches,
                self.fairness,
                self.watchdog,
            )
        )
        self._pages = Pages(self)
        reader, writer = self.reader, Writer(registry, authorizer, self.reader.bulk)
        scales = Scales(registry, writer)
        self._components = ComponentStatuses(reader, registry.store)
        self._verbs: dict[str, Handler] = {
            "get": reader.get,
            "list": reader.collect,
            "watch": reader.watch,
            "create": writer.create,
            "update": writer.update,
            "patch": writer.patch,
            "delete": writer.delete,
            "deletecollection": writer.delete_collection,
        }
        self._parts: dict[str, Handler] = {
            "get": reader.get,
            "update": writer.update,
            "patch": writer.patch,
        }
        self._scale: dict[str, Handler] = {
            "get": scales.get,
            "update": scales.update,
            "patch": scales.patch,
        }
        self._connections: dict[Connection, Handler] = {
            Connection.LOG: connector.log,
            Connection.STREAM: connector.stream,
            Connection.PROXY: connector.proxy,
        }

    # --- one request ---

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        info: RequestInfo | None = None
        call: Call | None = None
        began = time.perf_counter()
        self.watchdog.touch(request._message)
        try:
            if self._lags():  # what others were told of before is known here before we answer
                await fresh(self.registry.store, "")
            path, _, query_text = request._message.path.partition("?")
            if len(query_text) > _LONG_QUERY:
                query = await asyncio.to_thread(parse_query, query_text)
            else:
                query = parse_query(query_text)
            if len(path) > _LONG_QUERY:
                info = await asyncio.to_thread(parse, request.method, path, query)
            else:
                info = parse(request.method, path, query)
            call = Call(info, ANONYMOUS, query, query_text, request)
            collect_warnings(call.warnings)
            user = await self._authenticate(call)
            if self.audit is not None:
                await self._begin_record(self.audit, call, user)
            call.user = user
            if _impersonates(request.headers):
                call.user = await answered(self._impersonate, call, user)
            call.flow = self.fairness.flow_of(call.user, info)
            response = await self._answered(call)
            if isinstance(response, respond.Unwritten):
                if call.record is not None:
                    call.record.answers(response.body)
                write = self.workers.to_yaml if response.form == "yaml" else self.workers.indented
                response.body = await write(response.body)  # type: ignore[arg-type]
        except StatusError as error:
            # An answer has begun: there is no other way to say that it ends here.
            if request._payload_writer.output_size:
                request.protocol.abort()  # type: ignore[attr-defined]
                raise ConnectionResetError("the answer was given up") from None
            response = respond.failure(error, call)
            if request.record is not None:  # type: ignore[attr-defined]
                request.record.failed(error.status)  # type: ignore[attr-defined]
        except (asyncio.CancelledError, ConnectionError):
            raise
        except web.HTTPRequestEntityTooLarge:
            response = respond.failure(
                errors.too_large(f"Request entity too large: limit is {MAX_BODY}"), call
            )
        except RecursionError:
            response = respond.failure(errors.bad_request("json: exceeded max depth"), call)
        except Exception as error:
            log.exception("%s %s failed", request.method, request.path)
            if request.record is not None:  # type: ignore[attr-defined]
                await request.record.panicked(error)  # type: ignore[attr-defined]
            response = respond.failure(errors.internal(str(error) or type(error).__name__), call)
        if self.leaving and not response.prepared:
            response.force_close()
        if call is not None and call.flow is not None and not response.prepared:
            response.headers.update(call.flow.headers)
        if call is not None:
            seconds = time.perf_counter() - began
            size = _size(request, response)
            self.metrics.answered(call, response.status, seconds, size)
            if size > LARGE:
                self.reader.bulk.write_in_pieces(call, response)
        return response

    async def _answered(self, call: Call) -> web.StreamResponse:
        """The answer of a request that lasts as long as its client likes, or of one that has a
        deadline. A watch takes a seat until it has sent what there is.
        """
        if _is_long(call.info):
            await answered(self._authorize, call)
            with self.metrics.long_running(call).track_inprogress():
                if begins_with_list(call):
                    return await self._seated(call, known=True)
                return await self._route(call)
        in_flight = self.metrics.in_flight(call.info.verb)
        in_flight.enter()
        try:
            if "timeout" in call.query:
                async with asyncio.timeout(_deadline(call.query["timeout"])):
                    return await self._seated(call)
            with self._deadlines.begin():
                return await self._seated(call)
        except TimeoutError:
            raise errors.timeout(
                "Timeout: request did not complete within the allotted timeout"
            ) from None
        finally:
            in_flight.leave()

    async def _seated(self, call: Call, known: bool = False) -> web.StreamResponse:
        """The answer, once the body is here and there is a seat.

        One of an exempt level takes none. Nobody's body is read who may not do what he asks for,
        and nobody sits while he is sending.
        """
        flow = call.flow
        assert flow is not None
        if call.http.can_read_body and not known:
            await answered(self._authorize, call)
            if await self._receive(call) > LARGE_OBJECT:
                async with self._places[flow.level.exempt].place(call.user.name):
                    return await self._in_seat(call, known=True)
            known = True
        return await self._in_seat(call, known)

    async def _in_seat(self, call: Call, known: bool) -> web.StreamResponse:
        """`known`: that the user may do what is asked for."""
        flow = call.flow
        assert flow is not None
        if not flow.level.exempt:
            call.seat = await self.fairness.seat(flow, self._examined(call))
        try:
            if not known:
                try:
                    self._authorize(call)
                except Unanswered as question:  # `answered`, without its cost where nobody is asked
                    await question.ask()
                    await answered(self._authorize, call)
            return await self._route(call)
        finally:
            call.seat.release()

    def _examined(self, call: Call) -> int:
        """How many objects a request reads, about."""
        info = call.info
        if info.verb not in ("list", "watch") or not info.is_resource:
            return 1
        resource = self._served.find(info.group, info.version, info.resource)
        return 1 if resource is None else self.reader.examined(call, resource)

    async def _receive(self, call: Call) -> int:
        """Reads the body, and returns how many bytes it has.

        An account has so many bytes under way at a time, however many connections it has.
        """
        account = call.user.name
        length = call.http.content_length
        size = MAX_BODY if length is None else min(length, MAX_BODY)
        under_way = self._receiving.get(account, 0)
        if under_way + size > _MOST_UNDER_WAY:
            raise errors.too_many_requests("Too many requests, please try again later.", 1)
        self._receiving[account] = under_way + size
        try:
            data = await call.http.read()
            weigh_body(len(data))
            if "yaml" in call.http.headers.get("Content-Type", ""):
                if not await aside(decoding.is_json, data):
                    call.document = await self.workers.document(data)
            if len(data) > _MOST_OBJECTS:
                document = call.document.json if call.document is not None else data
                await aside(_check_objects, document)
            return len(data)
        except (web.RequestPayloadError, PayloadEncodingError) as error:
            raise errors.bad_request(f"the body could not be read: {error}") from None
        finally:
            self._receiving[account] -= size
            if not self._receiving[account]:
                del self._receiving[account]

    async def _authenticate(self, call: Call) -> User:
        """Certificate, then token, then nobody. Who shows one that is not valid, and no other that
        is, is not nobody: 401."""
        request = call.http
        protocol = request.protocol
        fault = protocol.certificate_fault
        try:
            if protocol.certificate:
                user = self.authenticator.certificate(protocol.certificate)
                if user is not None:
                    return user
        except InvalidToken as error:
            fault = str(error)
        authorization = request.headers.get(hdrs.AUTHORIZATION, "")
        token = _bearer(authorization) or _websocket_token(request)
        try:
            if token:
                return await self.authenticator.token(token)
            if fault:
                raise InvalidToken(fault)
            return self.authenticator.anonymous(call.info.path)
        except InvalidToken:
            if self.audit is not None:
                request.record = await self.audit.refuse(call, _attempted(request))
            raise errors.unauthorized() from None

    async def _begin_record(self, audit: Auditor, call: Call, user: User) -> None:
        record = await audit.begin(call, user, _is_long(call.info))
        call.record = call.http.record = record
        collect_annotations(record)

    def _impersonate(self, call: Call, user: User) -> User:
        return self._impersonation.user(call.http.headers, user, _asked(call, user))

    def _authorize(self, call: Call) -> None:
        info = call.info
        asked = _asked(call, call.user, self._authorizer.chain is not None)
        allowed, reason = self._authorizer.authorize(call.user, asked)
        if call.record is not None:
            call.record.decided(allowed, reason)
        if not allowed:
            raise self._refusal(call, asked, reason)
        if info.subresource in _UPGRADED and info.verb == "get" and info.resource == "pods":
            # A WebSocket begins with GET; what it does is no read. Upstream asks both since 1.35.
            asked = replace(asked, verb="create")
            if not self._authorizer.authorize(call.user, asked)[0]:
                raise refusal(call.user, asked)

    def _refusal(self, call: Call, asked: Asked, reason: str) -> StatusError:
        """403, or 500 when nobody allows the request and somebody could not be asked."""
        error = self._authorizer.decide(call.user, asked).error
        if not error:
            return refusal(call.user, asked, reason)
        if call.record is not None:
            call.record.annotations["authorization.k8s.io/reason"] = "internal error"
            call.record.annotations.pop("authorization.k8s.io/decision", None)
        return errors.internal(error)

    # --- routing ---

    async def _route(self, call: Call) -> web.StreamResponse:
        info = call.info
        if not info.is_resource:
            remote = self._behind(info.path)
            if info.path.startswith("/openapi/"):
                await self.documents.prepare("proto-openapi" in call.http.headers.get("Accept", ""))
            if remote is None:
                return await self._pages.answer(call)
            return await self._aggregator.pass_on(call, remote)
        resource = self._served.find(info.group, info.version, info.resource)
        if resource is None or resource.group == "metrics.k8s.io":
            remote = self._aggregator.find(info.group, info.version)
            if remote is not None:
                return await self._aggregator.pass_on(call, remote)
        if resource is None:
            if self._served.has_built_in(info.group):
                raise errors.page_not_found()
            return no_page()
        if info.verb == "watch" and call.http.method != "GET":
            raise errors.method_refused()
        if not resource.built_in:
            if not is_custom_path(info, resource):
                return no_page()
            if not resource.prepared:
                await asyncio.to_thread(resource.prepare)
            check_creatable(info, resource)
        else:
            check_path(info, resource, call.http.method)
            if id(resource) not in self._warm:
                for _ in decoding.warming(resource.type):
                    await asyncio.sleep(0)
                self._warm.add(id(resource))
        deprecation = resource.deprecation or self.registry.strategy_of(resource).deprecation
        if deprecation and (resource.built_in or info.verb != "watch"):
            call.warnings.append(deprecation)
            annotate("k8s.io/deprecated", "true")
        call.resource = resource
        if len(call.query_text) > _LONG_QUERY:
            await read_selectors(call)
        return await self._handler(call, resource)(
            call, storage_of(resource) if info.subresource == "scale" else resource
        )

    def _behind(self, path: str) -> Remote | None:
        """The server that answers a path which is no resource: its own discovery or its OpenAPI
        document.
        """
        parts = path.strip("/").removeprefix("openapi/v3/").split("/")
        if len(parts) != 3 or parts[0] != "apis":
            return None
        return self._aggregator.find(parts[1], parts[2])

    def _handler(self, call: Call, resource: Resource) -> Handler:
        info = call.info
        custom = not resource.built_in
        if info.subresource:
            sub = resource.subresource(info.subresource)
            if sub is None or (len(info.parts) > 3 and sub.name != "proxy"):
                if custom:
                    raise errors.not_found(resource.group_resource, info.name)
                raise errors.page_not_found()
            if info.verb == "watch" and not custom:
                raise errors.page_not_found()
            handler = self._subresource(resource, sub, info.verb)
        elif (action := self.registry.strategy_of(resource).action) is not None:
            handler = self._action(action) if info.verb == "create" else None
        elif resource.plural == "componentstatuses":
            handler = self._components.answer if info.verb in ("get", "list") else None
        elif (group := self._groups.get(resource.group)) is not None:
            handler = group.answer if info.verb in resource.verbs else None
        else:
            handler = self._verbs.get(info.verb) if info.verb in resource.verbs else None
            if (
                info.verb in ("create", "deletecollection")
                and len(info.parts) > 1
                and info.parts[1]
            ):
                handler = None
            if custom and not info.name and info.verb in ("update", "patch"):
                raise errors.bad_request("name must be provided")
        if handler is None:
            if custom:
                raise errors.method_not_allowed(resource.group_resource, info.verb)
            raise errors.method_refused()
        return handler

    def _subresource(self, resource: Resource, sub: Subresource, verb: str) -> Handler | None:
        """Who answers on a path below an object; None for a verb that it does not have."""
        declared = self.registry.strategy_of(resource).subresources.get(sub.name)
        if isinstance(declared, Connection):
            # A proxy is there for any method: the verb of those that have no name here is "".
            offered = verb in sub.verbs or (declared is Connection.PROXY and not verb)
            return self._connections[declared] if offered else None
        if verb not in sub.verbs:
            return None
        if isinstance(declared, Action):
            return self._action(declared)
        if isinstance(declared, Part) or sub.name == "status":
            return self._parts.get(verb)
        return self._scale.get(verb) if sub.name == "scale" else None

    def _action(self, action: Action[Any]) -> Handler:
        return partial(self._actions.run, action=action)


def _impersonates(headers: Mapping[str, str]) -> bool:
    """A plain loop: every request passes here, and a generator costs more than its headers."""
    for name in headers:  # noqa: SIM110
        if name[:1] in "iI" and name.lower().startswith("impersonate-"):
            return True
    return False


_UPGRADED = frozenset(("exec", "attach", "portforward"))
_STREAMING = _UPGRADED | {"proxy", "log"}
_SELECTING = frozenset(
    ("list", "watch", "deletecollection")
)  # verbs for which a selector says what is asked for
_PATIENCE = 60.0  # seconds that any request may take
_LONG_QUERY = 2048  # characters of a query that is not read on the event loop
_MOST_OBJECTS = 150_000  # in a body: each takes a kilobyte or more, whatever it says
_TEXTS = re.compile(rb'"(?:[^"\\]|\\.)*"')
_MOST_UNDER_WAY = 128 << 20  # bytes of bodies that one account is sending


def _check_objects(document: bytes) -> None:
    """Raises 413 for a document of very many objects: a million that say nothing fit into a body,
    and a gigabyte and ten seconds go into them."""
    if (
        document.count(b"{") > _MOST_OBJECTS
        and _TEXTS.sub(b"", document).count(b"{") > _MOST_OBJECTS
    ):
        raise errors.too_large(f"the body has more than {_MOST_OBJECTS} objects")


def _asked(call: Call, user: User, whole: bool = False) -> Asked:
    """What the authorizers are asked about the request. `whole`: with its selectors, whoever asks;
    else they matter to the nodes' authorizer alone."""
    info = call.info
    if not info.is_resource:
        return Asked(info.verb, path=info.path)
    selects = info.verb in _SELECTING and not info.by_path
    fields = ""
    if selects and (whole or NODES in user.groups):
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
        labels=call.query.get("labelSelector", "") if selects and whole else "",
    )


def _size(request: Any, response: web.StreamResponse) -> int:
    """Bytes of an answer: of its body, or of what has been written if it went in pieces."""
    body = getattr(response, "body", None)
    if isinstance(body, bytes):
        return len(body)
    size: int = request._payload_writer.output_size
    return size


def _attempted(request: Any) -> list[str]:
    """The ways in which a request tried to say who sends it, as upstream's audit names them."""
    header = request.headers.get(hdrs.AUTHORIZATION, "").strip().lower()
    ways = [way for way in ("basic", "bearer") if header.startswith(f"{way} ")]
    protocol = request.protocol
    return [*ways, "x509"] if protocol.certificate or protocol.certificate_fault else ways


def _is_long(info: RequestInfo) -> bool:
    """Whether a request lasts as long as its client likes."""
    return info.verb == "watch" or info.subresource in _STREAMING


def _deadline(text: str) -> float:
    """Seconds of a `timeout` parameter, a Go duration; 0 is the server's own limit, and so is more
    than that.
    """
    try:
        seconds = parse_duration(text).total_seconds()
    except CelError:
        raise errors.bad_request(
            f'invalid timeout specified in the request URL: time: invalid duration "{text}"'
        ) from None
    return min(seconds, _PATIENCE) if seconds > 0 else _PATIENCE


def _bearer(header: str) -> str:
    """The token in an Authorization header: its first word is the scheme, in any case, its second
    the token.
    """
    words = header.strip().split(" ")
    return words[1] if len(words) > 1 and words[0].lower() == "bearer" else ""


def _websocket_token(request: web.BaseRequest) -> str:
    """Browsers cannot set headers on a WebSocket: the token may come as a subprotocol."""
    for name in request.headers.get("Sec-WebSocket-Protocol", "").split(","):
        if name.strip().startswith(TOKEN_PROTOCOL):
            import base64

            text = name.strip()[len(TOKEN_PROTOCOL) :]
            with contextlib.suppress(ValueError):
                return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    return ""
