"""The HTTP front and the order in which a request passes through it.

1. name the request         request.parse
2. authenticate             certificate, token, anonymous
3. impersonate              if asked and allowed
4. wait for a seat          priority and fairness
5. authorize                RBAC and the node authorizer
6. route                    discovery and health, or a resource's verb
7. answer                   errors become a Status here and nowhere else
(Audit will stand between 3 and 4.)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from tiphys.api.catalog import Resource, storage_of
from tiphys.apiserver import discovery, openapi, respond
from tiphys.apiserver.actions import Actions
from tiphys.apiserver.aggregation import Aggregator, Remote
from tiphys.apiserver.authentication import AUTHENTICATED, Authenticator, InvalidToken
from tiphys.apiserver.authorization import Asked, Authorizer, refusal
from tiphys.apiserver.connect import Connector
from tiphys.apiserver.custom.resource import CustomResource
from tiphys.apiserver.fairness import Fairness
from tiphys.apiserver.nodeauthorizer import GROUP as NODES
from tiphys.apiserver.pages import Pages, no_page
from tiphys.apiserver.reading import Reader
from tiphys.apiserver.registry import Registry
from tiphys.apiserver.request import ANONYMOUS, Call, RequestInfo, User, collect_warnings, parse, parse_query
from tiphys.apiserver.scales import Scales
from tiphys.apiserver.usage import Usage
from tiphys.apiserver.watching import begins_with_list
from tiphys.apiserver.writing import Writer
from tiphys.machinery import errors
from tiphys.machinery.cel import CelError
from tiphys.machinery.cel.conversions import parse_duration
from tiphys.machinery.errors import StatusError

log = logging.getLogger(__name__)

MAX_BODY = 3 * 1024 * 1024
Handler = Callable[[Call, Resource], Awaitable[web.StreamResponse]]


class APIServer:
    """Answers requests. `ready` turns true once the store is open and the bootstrap objects are there."""

    def __init__(
        self,
        registry: Registry,
        authenticator: Authenticator,
        authorizer: Authorizer,
        connector: Connector,
        aggregator: Aggregator,
        usage: Usage,
        address: str,
    ) -> None:
        self.authenticator = authenticator
        self._authorizer = authorizer
        self.registry = registry
        self.address = address
        self.reader = Reader(registry)
        self._catalogue = registry.catalogue
        self.discovery, self.documents = (
            discovery.Discovery(self._catalogue, aggregator),
            openapi.OpenAPI(self._catalogue, aggregator),
        )
        self._aggregator = aggregator
        self._usage = usage
        self._connector = connector
        actions = Actions(registry, authenticator, authorizer)
        self.fairness = Fairness(registry.store)
        self.ready = False
        self._pages = Pages(self)
        self.requests: dict[tuple[str, str, int], int] = {}
        reader, writer = self.reader, Writer(registry, authorizer)
        scales = Scales(registry, writer)
        self._verbs: dict[str, Handler] = {
            "get": reader.get, "list": reader.collect, "watch": reader.watch, "create": writer.create,
            "update": writer.update, "patch": writer.patch, "delete": writer.delete,
            "deletecollection": writer.delete_collection,
        }  # fmt: skip
        stored: dict[str, Handler] = {"get": reader.get, "update": writer.update, "patch": writer.patch}
        self._subresources: dict[str, dict[str, Handler]] = {
            "status": stored, "finalize": {"update": writer.update}, "approval": stored, "ephemeralcontainers": stored, "resize": stored,
            "scale": {"get": scales.get, "update": scales.update, "patch": scales.patch},
            "binding": {"create": actions.bind}, "eviction": {"create": actions.evict}, "token": {"create": actions.token},
            "log": {"get": connector.log},
            "exec": dict.fromkeys(("get", "create"), connector.stream),
            "attach": dict.fromkeys(("get", "create"), connector.stream),
            "portforward": dict.fromkeys(("get", "create"), connector.stream),
            "proxy": dict.fromkeys(("get", "create", "update", "patch", "delete"), connector.proxy),
        }  # fmt: skip
        self._virtual: dict[str, Handler] = {
            "bindings": actions.bind, "tokenreviews": actions.token_review, "selfsubjectreviews": actions.self_subject,
            "subjectaccessreviews": actions.access_review, "localsubjectaccessreviews": actions.access_review,
            "selfsubjectaccessreviews": actions.access_review, "selfsubjectrulesreviews": actions.rules_review,
        }  # fmt: skip

    # --- one request ---

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        info: RequestInfo | None = None
        call: Call | None = None
        try:
            path, _, query_text = request._message.path.partition("?")
            query = parse_query(query_text)
            info = parse(request.method, path, query)
            call = Call(info, ANONYMOUS, query, query_text, request)
            collect_warnings(call.warnings)
            call.user = self._impersonate(call, self._authenticate(request))
            call.flow = self.fairness.flow_of(call.user, info)
            response = await self._served(call)
        except StatusError as error:
            response = respond.failure(error, call.warnings if call is not None else None)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except web.HTTPRequestEntityTooLarge:
            response = respond.failure(errors.too_large(f"Request entity too large: limit is {MAX_BODY}"))
        except RecursionError:
            response = respond.failure(errors.bad_request("json: exceeded max depth"))
        except Exception as error:
            log.exception("%s %s failed", request.method, request.path)
            response = respond.failure(errors.internal(str(error) or type(error).__name__))
        if call is not None and call.flow is not None and not response.prepared:
            response.headers.update(call.flow.headers)
        if info is not None:
            key = (info.verb, info.resource, response.status)
            self.requests[key] = self.requests.get(key, 0) + 1
        return response

    async def _served(self, call: Call) -> web.StreamResponse:
        """The answer, once there is a seat. A request that lasts takes none, nor does one of an exempt level; a watch does
        until it sends what there is."""
        flow = call.flow
        assert flow is not None
        if flow.level.exempt or (_is_long(call.info) and not begins_with_list(call)):
            return await self._allowed(call)
        call.seat = await self.fairness.seat(flow, self._examined(call))
        try:
            return await self._allowed(call)
        finally:
            call.seat.release()

    def _examined(self, call: Call) -> int:
        """How many objects a request reads, about."""
        info = call.info
        if info.verb not in ("list", "watch") or not info.is_resource:
            return 1
        resource = self._catalogue.find(info.group, info.version, info.resource)
        return 1 if resource is None else self.reader.examined(call, resource)

    async def _allowed(self, call: Call) -> web.StreamResponse:
        self._authorize(call)
        if "timeout" in call.query and not _is_long(call.info):
            return await self._route_within(call, _deadline(call.query["timeout"]))
        return await self._route(call)

    def _authenticate(self, request: web.BaseRequest) -> User:
        der = request.protocol.certificate  # type: ignore[attr-defined]
        if der:
            return self.authenticator.certificate(der)
        header = request.headers.get(hdrs.AUTHORIZATION, "")
        token = header[7:].strip() if header[:7].lower() == "bearer " else _websocket_token(request)
        if not token:
            return ANONYMOUS
        try:
            return self.authenticator.token(token)
        except InvalidToken:
            raise errors.unauthorized() from None

    def _impersonate(self, call: Call, user: User) -> User:
        headers = call.http.headers
        name = headers.get("Impersonate-User", "")
        groups = headers.getall("Impersonate-Group", [])
        if not name:
            if groups or "Impersonate-Uid" in headers:
                raise errors.bad_request("requested impersonation without impersonating a user")
            return user
        wishes = []
        account = name.split(":") if name.startswith("system:serviceaccount:") else []
        if len(account) == 4:
            wishes.append(Asked("impersonate", "", "serviceaccounts", "", account[2], account[3], version="v1"))
        else:
            wishes.append(Asked("impersonate", "", "users", name=name, version="v1"))
        wishes += [Asked("impersonate", "", "groups", name=group, version="v1") for group in groups]
        extra: dict[str, list[str]] = {}
        for key, value in headers.items():
            if key.lower().startswith("impersonate-extra-"):
                field = key[len("impersonate-extra-") :].lower()
                extra.setdefault(field, []).append(value)
                wishes.append(
                    Asked("impersonate", "authentication.k8s.io", "userextras", field, name=value, version="v1")
                )
        uid = headers.get("Impersonate-Uid", "")
        if uid:
            wishes.append(Asked("impersonate", "authentication.k8s.io", "uids", name=uid, version="v1"))
        for wish in wishes:
            if not self._authorizer.authorize(user, wish)[0]:
                raise refusal(user, wish)
        if len(account) == 4 and not groups:
            groups = ["system:serviceaccounts", f"system:serviceaccounts:{account[2]}"]
        if name != "system:anonymous" and AUTHENTICATED not in groups:
            groups = [*groups, AUTHENTICATED]
        return User(name, tuple(groups), uid, extra)

    def _authorize(self, call: Call) -> None:
        info = call.info
        if info.is_resource:
            fields = call.query.get("fieldSelector", "") if NODES in call.user.groups else ""
            asked = Asked(
                info.verb, info.group, info.resource, info.subresource, info.namespace, info.name, version=info.version,
                fields=fields,
            )  # fmt: skip
        else:
            asked = Asked(info.verb, path=info.path)
        if not self._authorizer.authorize(call.user, asked)[0]:
            raise refusal(call.user, asked)

    # --- routing ---

    async def _route_within(self, call: Call, seconds: float) -> web.StreamResponse:
        """For a client that says how long it will wait: what it will not hear of is given up."""
        try:
            async with asyncio.timeout(seconds):
                return await self._route(call)
        except TimeoutError:
            raise errors.timeout("Timeout: request did not complete within the allotted timeout") from None

    async def _route(self, call: Call) -> web.StreamResponse:
        info = call.info
        if not info.is_resource:
            remote = self._behind(info.path)
            return await self._pages.answer(call) if remote is None else await self._aggregator.pass_on(call, remote)
        resource = self._catalogue.find(info.group, info.version, info.resource)
        if resource is None or resource.group == "metrics.k8s.io":
            remote = self._aggregator.find(info.group, info.version)
            if remote is not None:
                return await self._aggregator.pass_on(call, remote)
        if resource is None:
            if self._catalogue.has_built_in(info.group):
                raise errors.page_not_found()
            return no_page()
        if info.verb == "watch" and call.http.method != "GET":
            raise errors.method_refused()
        if isinstance(resource, CustomResource):
            if bool(info.namespace) > resource.namespaced or _misses_namespace(info, resource):
                return no_page()
            self._check_custom(call, resource)
        else:
            _check_path(info, resource, call.http.method)
            if (old := _OLD.get(resource.group_resource)) is not None:
                call.warnings.append(old)
        call.resource = resource
        return await self._handler(call, resource)(
            call, storage_of(resource) if info.subresource == "scale" else resource
        )

    def _behind(self, path: str) -> Remote | None:
        """The server that answers a path which is no resource: its own discovery or its OpenAPI document."""
        parts = path.strip("/").removeprefix("openapi/v3/").split("/")
        return self._aggregator.find(parts[1], parts[2]) if len(parts) == 3 and parts[0] == "apis" else None

    @staticmethod
    def _check_custom(call: Call, resource: CustomResource) -> None:
        if resource.definition.metadata.deletion_timestamp and call.info.verb == "create":
            refusal = errors.method_not_allowed(resource.group_resource, "create")
            refusal.status.message = "create not allowed while custom resource definition is terminating"
            raise refusal
        if resource.deprecation and call.info.verb != "watch":
            call.warnings.append(resource.deprecation)

    def _handler(self, call: Call, resource: Resource) -> Handler:
        info = call.info
        custom = isinstance(resource, CustomResource)
        if info.subresource:
            sub = resource.subresource(info.subresource)
            if sub is None or (len(info.parts) > 3 and sub.name != "proxy"):
                raise errors.not_found(resource.group_resource, info.name) if custom else errors.page_not_found()
            handler = self._subresources.get(sub.name, {}).get("get" if info.verb == "watch" else info.verb)
        elif resource.plural in self._virtual:
            handler = self._virtual[resource.plural] if info.verb == "create" else None
        elif resource.plural == "componentstatuses":
            handler = _no_components if info.verb in ("get", "list") else None
        elif resource.group == "metrics.k8s.io":
            handler = self._usage.answer if info.verb in resource.verbs else None
        else:
            handler = self._verbs.get(info.verb) if info.verb in resource.verbs else None
            if info.verb in ("create", "deletecollection") and len(info.parts) > 1 and info.parts[1]:
                handler = None
            if custom and not info.name and info.verb in ("update", "patch"):
                raise errors.bad_request("name must be provided")
        if handler is None:
            raise errors.method_not_allowed(resource.group_resource, info.verb) if custom else errors.method_refused()
        return handler


_OLD = {"endpoints": "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"}
_STREAMING = frozenset(("exec", "attach", "portforward", "proxy", "log"))
_PATIENCE = 60.0  # seconds that any request may take


def _is_long(info: RequestInfo) -> bool:
    """Whether a request lasts as long as its client likes."""
    return info.verb == "watch" or info.subresource in _STREAMING


def _deadline(text: str) -> float:
    """Seconds of a `timeout` parameter, a Go duration; 0 is the server's own limit, and so is more than that."""
    try:
        seconds = parse_duration(text).total_seconds()
    except CelError:
        raise errors.bad_request(f'invalid timeout specified in the request URL: time: invalid duration "{text}"') from None
    return min(seconds, _PATIENCE) if seconds > 0 else _PATIENCE


_TOKEN_PROTOCOL = "base64url.bearer.authorization.k8s.io."


def _websocket_token(request: web.BaseRequest) -> str:
    """Browsers cannot set headers on a WebSocket: the token may come as a subprotocol."""
    for name in request.headers.get("Sec-WebSocket-Protocol", "").split(","):
        if name.strip().startswith(_TOKEN_PROTOCOL):
            import base64

            text = name.strip()[len(_TOKEN_PROTOCOL) :]
            with contextlib.suppress(ValueError):
                return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    return ""


def _check_path(info: RequestInfo, resource: Resource, method: str) -> None:
    """What a router that knows every path says to those it does not know, and to methods that a path does not have.
    Custom resources have none. Raises 404 and 405."""
    name, collection = "".join(info.parts[1:2]), len(info.parts) < 2
    outside = resource.namespaced and not info.namespace
    if info.namespace and not resource.namespaced and resource.plural != "namespaces":
        raise errors.page_not_found()
    if outside and (name or "list" not in resource.verbs):
        raise errors.page_not_found()
    if method == "HEAD" or (collection and info.verb in ("update", "patch")):
        raise errors.method_refused()
    if outside and info.verb not in ("list", "watch"):
        raise errors.method_refused()


def _misses_namespace(info: RequestInfo, resource: Resource) -> bool:
    """Whether a request names no namespace that has to name one: all but lists and watches of everything."""
    return resource.namespaced and not info.namespace and info.verb not in ("list", "watch")


async def _no_components(call: Call, resource: Resource) -> web.StreamResponse:
    if call.info.name:
        raise errors.not_found("componentstatuses", call.info.name)
    call.warnings.append("v1 ComponentStatus is deprecated in v1.19+")
    body = b'{"kind":"ComponentStatusList","apiVersion":"v1","metadata":{},"items":[]}'
    return respond.answer(body, 200, call.warnings)
