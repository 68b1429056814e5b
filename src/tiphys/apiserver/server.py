"""The HTTP front and the order in which a request passes through it.

1. name the request         request.parse
2. authenticate             certificate, token, anonymous; here its audit record starts
3. impersonate              if asked and allowed
4. read the body            of a user who is authorized
5. wait for a seat          priority and fairness
   and authorize            RBAC and the node authorizer
6. route                    discovery and health, or a resource's verb
7. answer                   errors become a Status only here
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from aiohttp import hdrs, web
from aiohttp.http_exceptions import PayloadEncodingError
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from tiphys.apiserver.access.asked import Asked, refusal
from tiphys.apiserver.access.authentication import Authenticator
from tiphys.apiserver.access.authorization import Authorizer
from tiphys.apiserver.access.fairness import Fairness
from tiphys.apiserver.access.impersonation import Impersonation
from tiphys.apiserver.access.serviceaccounttokens import InvalidToken
from tiphys.apiserver.audit.auditor import Auditor
from tiphys.apiserver.documents import discovery, openapi
from tiphys.apiserver.eventloop.aside import LARGE as LARGE_OBJECT
from tiphys.apiserver.eventloop.aside import Unanswered, answered, aside, weigh_body
from tiphys.apiserver.eventloop.places import Bodies, Places
from tiphys.apiserver.eventloop.watchdog import Watchdog
from tiphys.apiserver.handlers import Handlers
from tiphys.apiserver.http import bodies, respond
from tiphys.apiserver.http.bulk import LARGE
from tiphys.apiserver.http.freshness import fresh
from tiphys.apiserver.http.metrics import RequestMetrics, StateCollector
from tiphys.apiserver.http.pages import VERSION, Pages
from tiphys.apiserver.http.reading import Reader
from tiphys.apiserver.http.request import (
    ANONYMOUS,
    MAX_BODY,
    Call,
    RequestInfo,
    User,
    collect_annotations,
    collect_warnings,
    parse,
    parse_query,
    target,
)
from tiphys.apiserver.http.watching import begins_with_list
from tiphys.apiserver.parts import ServedGroup
from tiphys.apiserver.proxying.aggregation import Aggregator
from tiphys.apiserver.proxying.connect import Connector
from tiphys.apiserver.registry.registry import Registry
from tiphys.apiserver.requestfacts import (
    MOST_OBJECTS,
    PATIENCE,
    UPGRADED,
    attempted_ways,
    bearer,
    check_objects,
    deadline,
    impersonates,
    is_long,
    question_of,
    size_of,
    websocket_token,
)
from tiphys.apiserver.routing import LONG_QUERY, Router
from tiphys.machinery import errors, fieldvalidation
from tiphys.machinery.errors import StatusError
from tiphys.store.deadlines import Deadlines

log = logging.getLogger(__name__)


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
        self.discovery = discovery.Discovery(self._served, aggregator)
        self.documents = openapi.OpenAPI(self._served, aggregator)
        self.fairness = Fairness(registry.store)
        self.watchdog = Watchdog()
        self.workers = registry.workers
        self._places = (Places(), Places())  # those of exempt levels are others
        self._bodies = Bodies()
        self._deadlines = Deadlines(PATIENCE)
        self.ready = False
        # What is wrong with KMS plugins; None where there are none.
        self.kms_faults: Callable[[], list[str]] | None = None
        self.leaving = False  # whether clients are asked to reconnect
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
        handlers = Handlers(registry, self.reader, authenticator, authorizer, connector, groups)
        self._router = Router(registry, aggregator, self.documents, Pages(self), handlers)

    # --- one request ---

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        info: RequestInfo | None = None
        call: Call | None = None
        began = time.perf_counter()
        self.watchdog.touch(request._message)
        try:
            if self._lags():  # what others have been answered is known here before we answer
                await fresh(self.registry.store, "")
            path, query_text = target(request._message.path)
            if len(query_text) > LONG_QUERY:
                query = await asyncio.to_thread(parse_query, query_text)
            else:
                query = parse_query(query_text)
            if len(path) > LONG_QUERY:
                info = await asyncio.to_thread(parse, request.method, path, query)
            else:
                info = parse(request.method, path, query)
            call = Call(info, ANONYMOUS, query, query_text, request)
            collect_warnings(call.warnings)
            user = await self._authenticate(call)
            if self.audit is not None:
                await self._begin_record(self.audit, call, user)
            call.user = user
            if impersonates(request.headers):
                call.user = await answered(self._impersonate, call, user)
            call.flow = self.fairness.flow_of(call.user, info)
            response = await self._answered(call)
            if isinstance(response, respond.Unwritten):
                if call.record is not None:
                    call.record.answers(response.body)
                await self._write_out(response)
        except StatusError as error:
            # An answer has started: there is no other way to show that it ends here.
            if request._payload_writer.output_size:
                request.protocol.abort()  # type: ignore[attr-defined]
                raise ConnectionResetError("the answer was given up") from None
            response = await self._failed(error, call)
            if request.record is not None:  # type: ignore[attr-defined]
                request.record.failed(error.status)  # type: ignore[attr-defined]
        except (asyncio.CancelledError, ConnectionError):
            raise
        except web.HTTPRequestEntityTooLarge:
            response = await self._failed(
                errors.too_large(f"Request entity too large: limit is {MAX_BODY}"), call
            )
        except RecursionError:
            response = await self._failed(errors.bad_request("json: exceeded max depth"), call)
        except Exception as error:
            log.exception("%s %s failed", request.method, request.path)
            if request.record is not None:  # type: ignore[attr-defined]
                await request.record.panicked(error)  # type: ignore[attr-defined]
            failure = errors.internal(str(error) or type(error).__name__)
            response = await self._failed(failure, call)
        if self.leaving and not response.prepared:
            response.force_close()
        if call is not None and not response.prepared:
            call.describe(response.headers)
        if call is not None:
            seconds = time.perf_counter() - began
            size = size_of(request, response)
            self.metrics.answered(call, response.status, seconds, size)
            if size > LARGE:
                self.reader.bulk.write_in_pieces(call, response)
        return response

    async def _write_out(self, response: respond.Unwritten) -> None:
        write = self.workers.to_yaml if response.form == "yaml" else self.workers.indented
        response.body = await write(response.body)  # type: ignore[arg-type]

    async def _failed(self, error: StatusError, call: Call | None) -> web.Response:
        response = respond.failure(error, call)
        if isinstance(response, respond.Unwritten):
            await self._write_out(response)
        return response

    async def _answered(self, call: Call) -> web.StreamResponse:
        """The answer of a request that lasts as long as its client likes, or of one that has a
        deadline. A watch takes a seat until it has sent what there is."""
        if is_long(call.info):
            await answered(self._authorize, call)
            await bodies.invite(call.http)
            with self.metrics.long_running(call).track_inprogress():
                if begins_with_list(call):
                    return await self._seated(call, known=True)
                return await self._router.answer(call)
        in_flight = self.metrics.in_flight(call.info.verb)
        in_flight.enter()
        try:
            if "timeout" in call.query:
                async with asyncio.timeout(deadline(call.query["timeout"])):
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

        One of an exempt level takes none. No body is read before the user is authorized, and no
        seat is taken while it is sent. `known`: that the user is authorized.
        """
        flow = call.flow
        assert flow is not None
        if call.http.can_read_body and not known:
            await answered(self._authorize, call)
            known = True
            size = await self._receive(call)
            if size > LARGE_OBJECT:
                return await self._placed(call, size)
        if not flow.level.exempt:
            call.seat = await self.fairness.seat(flow, self._examined(call))
        try:
            if not known:
                try:
                    self._authorize(call)
                except Unanswered as question:  # `answered`, but free where nothing is asked
                    await question.ask()
                    await answered(self._authorize, call)
            return await self._router.answer(call)
        finally:
            call.seat.release()

    async def _placed(self, call: Call, size: int) -> web.StreamResponse:
        """The answer to a request with a large body of so many bytes, once there is a place."""
        flow = call.flow
        account = call.user.name
        assert flow is not None
        self._bodies.take(account, size)
        try:
            async with self._places[flow.level.exempt].place(account):
                return await self._seated(call, known=True)
        finally:
            self._bodies.give_back(account, size)

    def _examined(self, call: Call) -> int:
        """How many objects a request reads, about."""
        info = call.info
        if info.verb not in ("list", "watch") or not info.is_resource:
            return 1
        resource = self._served.find(info.group, info.version, info.resource)
        return 1 if resource is None else self.reader.examined(call, resource)

    async def _receive(self, call: Call) -> int:
        """Reads the body, and returns how many bytes it has."""
        account = call.user.name
        length = call.http.content_length
        size = MAX_BODY if length is None else min(length, MAX_BODY)
        self._bodies.take(account, size)
        try:
            await bodies.invite(call.http)
            data = await call.http.read()
            weigh_body(len(data))
            if "yaml" in call.http.headers.get("Content-Type", ""):
                if not await aside(fieldvalidation.is_json, data):
                    call.document = await self.workers.document(data)
            if len(data) > MOST_OBJECTS:
                document = call.document.json if call.document is not None else data
                await aside(check_objects, document)
            return len(data)
        except (web.RequestPayloadError, PayloadEncodingError) as error:
            raise errors.bad_request(f"the body could not be read: {error}") from None
        finally:
            self._bodies.give_back(account, size)

    async def _authenticate(self, call: Call) -> User:
        """Certificate, then token, then anonymous. Invalid credentials, without others that are
        valid, are not anonymous: 401."""
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
        token = bearer(authorization) or websocket_token(request)
        try:
            if token:
                return await self.authenticator.token(token)
            if fault:
                raise InvalidToken(fault)
            return self.authenticator.anonymous(call.info.path)
        except InvalidToken:
            if self.audit is not None:
                request.record = await self.audit.refuse(call, attempted_ways(request))
            raise errors.unauthorized() from None

    async def _begin_record(self, audit: Auditor, call: Call, user: User) -> None:
        record = await audit.begin(call, user, is_long(call.info))
        call.record = call.http.record = record
        collect_annotations(record)

    def _impersonate(self, call: Call, user: User) -> User:
        return self._impersonation.user(call.http.headers, user, question_of(call, user))

    def _authorize(self, call: Call) -> None:
        info = call.info
        asked = question_of(call, call.user, self._authorizer.chain is not None)
        allowed, reason = self._authorizer.authorize(call.user, asked)
        if call.record is not None:
            call.record.decided(allowed, reason)
        if not allowed:
            raise self._refusal(call, asked, reason)
        if info.subresource in UPGRADED and info.verb == "get" and info.resource == "pods":
            # A WebSocket starts with GET; what it does is no read. Upstream asks both since 1.35.
            asked = replace(asked, verb="create")
            if not self._authorizer.authorize(call.user, asked)[0]:
                raise refusal(call.user, asked)

    def _refusal(self, call: Call, asked: Asked, reason: str) -> StatusError:
        """403, or 500 when no authorizer allows the request and one could not be asked."""
        error = self._authorizer.decide(call.user, asked).error
        if not error:
            return refusal(call.user, asked, reason)
        if call.record is not None:
            call.record.annotations["authorization.k8s.io/reason"] = "internal error"
            call.record.annotations.pop("authorization.k8s.io/decision", None)
        return errors.internal(error)
