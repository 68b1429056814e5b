"""The xDS server on gRPC: one stream for each client, and CSDS to look inside."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import grpc
from envoy.service.discovery.v3 import discovery_pb2
from envoy.service.status.v3 import csds_pb2

from tiphys.client.tasks import TaskGroup
from tiphys.network.xds.bounds import (
    LONGEST_REQUEST,
    MOST_NAMES,
    MOST_TYPES,
    MOST_WAITING,
    STREAMS,
    VERSION,
    Held,
    OnTheWay,
    Share,
    TooMuch,
    weight,
)
from tiphys.network.xds.cache import ORDER, Cache
from tiphys.network.xds.streams import Conversation, Incremental, StateOfTheWorld, Subscription

log = logging.getLogger(__name__)

Admit = Callable[[Any], AbstractAsyncContextManager[Cache]]
"""Who may have a stream, and what it serves while it lasts. Takes the call's context; who is
not let in is refused by `abort`."""
_ADS = "envoy.service.discovery.v3.AggregatedDiscoveryService"
_MOST_ROWS = 4000  # of what CSDS shows: each takes ten microseconds
_CSDS = "envoy.service.status.v3.ClientStatusDiscoveryService"
_OPTIONS = (
    ("grpc.max_receive_message_length", LONGEST_REQUEST),
    ("grpc.keepalive_time_ms", 30_000),  # a client that is gone without a word is noticed
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)


class Connection:
    """One client's stream. What changes while an answer is sent waits here, each name once."""

    def __init__(
        self,
        conversation: Conversation,
        held: Held,
        on_the_way: OnTheWay,
        on_request: Callable[[], None],
    ) -> None:
        self.conversation = conversation
        self.cache = conversation.cache
        self._on_request = on_request
        self._held = held
        self._share = Share()
        self._weights: dict[str, int] = {}  # of what is wanted, by type
        self._on_the_way = on_the_way
        self._has_ended = False
        self.node: Any = None
        self._changed: dict[str, set[str]] = {}
        self._wake = asyncio.Event()

    def announce(self, type_url: str, names: frozenset[str]) -> None:
        subscription = self.conversation.subscriptions.get(type_url)
        if subscription is None or not any(subscription.wants(name) for name in names):
            return
        self._changed.setdefault(type_url, set()).update(names)
        self._wake.set()

    def has_to_tell(self, type_url: str, name: str) -> bool:
        """Whether the client has not been sent the last change of a resource yet."""
        return name in self._changed.get(type_url, ())

    async def answers(self, requests: AsyncIterator[Any], tasks: TaskGroup) -> AsyncIterator[bytes]:
        """What to send, until the client ends the stream. Raises TooMuch."""
        inbox: asyncio.Queue[Any] = asyncio.Queue(MOST_WAITING)
        reading = tasks.start(self._read(requests, inbox), "read")
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while not inbox.empty():
                    async with self._on_the_way.turn():
                        answer = self._asked(inbox.get_nowait())
                    if answer is not None:
                        async with self._on_the_way.sending(len(answer)):
                            yield answer
                if self._has_ended:
                    return
                for type_url in sorted(self._changed, key=_rank):
                    async with self._on_the_way.turn():
                        names = self._changed.pop(type_url)
                        answer = self.conversation.change(type_url, names)  # type: ignore[attr-defined]
                    if answer is not None:
                        async with self._on_the_way.sending(len(answer)):
                            yield answer
        finally:
            self._held.release(self._share)
            reading.cancel()

    async def _read(self, requests: AsyncIterator[Any], inbox: asyncio.Queue[Any]) -> None:
        try:
            async for request in requests:
                await inbox.put(request)  # a client that does not read is not read from
                self._wake.set()
        finally:
            self._has_ended = True
            self._wake.set()

    def _asked(self, request: Any) -> bytes | None:
        self._check(request)
        if request.HasField("node"):  # in the first request at least
            self.node = request.node
            self.conversation.client = request.node.id
        answer: bytes | None = self.conversation.request(request)  # type: ignore[attr-defined]
        if isinstance(self.conversation, Incremental):  # what the others have, they share
            subscriptions = self.conversation.subscriptions.values()
            self._weights["sent"] = VERSION * sum(
                len(subscription.sent) for subscription in subscriptions
            )
            self._held.keep(self._share, sum(self._weights.values()))
        self._on_request()
        return answer

    def _check(self, request: Any) -> None:
        """Raises TooMuch for what a server should not do for a client, nor keep for it."""
        type_url = request.type_url
        known = self.conversation.subscriptions.get(type_url)
        if known is None and len(self.conversation.subscriptions) >= MOST_TYPES:
            raise TooMuch(f"a stream may ask for {MOST_TYPES} types")
        is_whole = isinstance(request, discovery_pb2.DiscoveryRequest)
        names = request.resource_names if is_whole else request.resource_names_subscribe
        further = () if is_whole else request.initial_resource_versions
        dropped = () if is_whole else request.resource_names_unsubscribe
        if len(names) + len(further) + len(dropped) > MOST_NAMES:
            raise TooMuch(f"a request may have {MOST_NAMES} names")
        kept = 0 if is_whole or known is None else weight(known.names)
        self._weights[type_url] = kept + weight(names) + weight(further) + len(type_url)
        if request.HasField("node"):
            self._weights["node"] = int(request.node.ByteSize())
        self._held.keep(self._share, sum(self._weights.values()))


class XdsServer:
    """Serves a cache, or with `admit` each client what is for it. `connections` are the clients of
    now.

    With `admit` no client can see what others have: there is no CSDS.
    """

    def __init__(self, cache: Cache, admit: Admit | None = None) -> None:
        self._cache = cache
        self._admit = admit or self._anybody
        self._is_open = admit is None
        self._server: grpc.aio.Server | None = None
        self._tasks = TaskGroup("xds")
        self.connections: set[Connection] = set()
        self._refused = 0  # by clients that are gone
        self._held = Held()
        self._on_the_way = OnTheWay()
        self._heard = asyncio.Event()  # something from some client

    @property
    def refusals(self) -> int:
        """How often a client has refused an answer since the server started."""
        now = sum(connection.conversation.refusals for connection in self.connections)
        return self._refused + now

    async def start(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Listens at ``host:port`` and returns the port. Raises OSError when it is taken."""
        server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=STREAMS)
        server.add_generic_rpc_handlers((_ads(self), *((_csds(self),) if self._is_open else ())))
        try:
            if credentials is None:
                port = server.add_insecure_port(address)
            else:
                port = server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise OSError(f"xDS cannot listen at {address}: {error}") from None
        await server.start()
        self._server = server
        return int(port)

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(grace=None)
        await self._tasks.stop()

    async def aggregated(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[bytes]:
        """StreamAggregatedResources: the state of the world."""
        async for answer in self._stream(StateOfTheWorld, requests, context):
            yield answer

    async def incremental(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[bytes]:
        """DeltaAggregatedResources."""
        async for answer in self._stream(Incremental, requests, context):
            yield answer

    @asynccontextmanager
    async def _anybody(self, context: Any) -> AsyncIterator[Cache]:
        yield self._cache

    async def _stream(
        self, form: type[Conversation], requests: AsyncIterator[Any], context: Any
    ) -> AsyncIterator[bytes]:
        async with self._admit(context) as cache:
            async for answer in self._converse(form(cache), requests, context):
                yield answer

    async def _converse(
        self, conversation: Conversation, requests: AsyncIterator[Any], context: Any
    ) -> AsyncIterator[bytes]:
        connection = Connection(conversation, self._held, self._on_the_way, self._heard.set)
        self.connections.add(connection)
        forget = conversation.cache.listen(connection.announce)
        try:
            async for answer in connection.answers(requests, self._tasks):
                yield answer
        except TooMuch as refusal:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(refusal))
        finally:
            forget()
            self.connections.discard(connection)
            self._refused += conversation.refusals
            self._heard.set()

    async def settled(self, names: Mapping[str, Iterable[str]]) -> dict[str, dict[str, str]]:
        """Waits until every client has accepted or refused the named resources, by type, as they
        are in the cache; of those that are not there, that it was notified.

        A client that is new counts once it has asked for them. Returns what was refused: why, by
        type and name.
        """
        wanted = {type_url: list(listed) for type_url, listed in names.items()}
        while True:
            self._heard.clear()
            refused: dict[str, dict[str, str]] = {}
            waiting = [
                (type_url, name)
                for connection in self.connections
                for type_url, listed in wanted.items()
                for name in listed
                if not self._is_settled(connection, type_url, name, refused)
            ]
            if not waiting:
                return refused
            await self._heard.wait()

    def send_again(self, type_url: str, names: Collection[str]) -> None:
        """Resources that clients refused for what may have changed on their side, such as a port
        that was taken."""
        for connection in self.connections:
            subscription = connection.conversation.subscriptions.get(type_url)
            if subscription is None:
                continue
            forgotten = set(names)
            for held in ("sent", "refused"):  # which other clients may share: not changed in place
                versions: dict[str, str] = getattr(subscription, held)
                kept = {
                    name: version for name, version in versions.items() if name not in forgotten
                }
                setattr(subscription, held, kept)
            connection.announce(type_url, frozenset(names))

    def _is_settled(
        self,
        connection: Connection,
        type_url: str,
        name: str,
        refused: dict[str, dict[str, str]],
    ) -> bool:
        current = connection.cache.get(type_url, name)
        subscription = connection.conversation.subscriptions.get(type_url)
        if connection.has_to_tell(type_url, name):
            return False
        if current is None:
            return subscription is None or not subscription.is_awaited(name)
        if subscription is None:
            return False
        if subscription.refused.get(name) == current.version:
            refused.setdefault(type_url, {})[name] = subscription.error
            return True
        return subscription.acknowledged.get(name) == current.version

    def statuses(self) -> Any:
        """A `ClientStatusResponse`: what every client has, and what it refused, in as many rows as
        can be made at once."""
        left = _MOST_ROWS
        configs = []
        for connection in self.connections:
            config = _status(self._cache, connection, left)
            configs.append(config)
            left -= len(config.generic_xds_configs) + 1
            if left <= 0:
                break
        return csds_pb2.ClientStatusResponse(config=configs)


def _rank(type_url: str) -> int:
    return ORDER.index(type_url) if type_url in ORDER else len(ORDER)


def _status(cache: Cache, connection: Connection, most: int) -> Any:
    rows: list[Any] = []
    for type_url, subscription in connection.conversation.subscriptions.items():
        names = itertools.chain(subscription.names, subscription.sent)
        shown = set(itertools.islice(names, max(most - len(rows), 0)))
        for name in sorted(shown - {"*"}):
            rows.append(_row(cache, type_url, name, subscription))
    return csds_pb2.ClientConfig(node=connection.node, generic_xds_configs=rows)


def _row(cache: Cache, type_url: str, name: str, subscription: Subscription) -> Any:
    current = cache.get(type_url, name)
    accepted = subscription.acknowledged.get(name, "")
    if current is None:
        state = csds_pb2.NOT_SENT
    elif subscription.error and subscription.refused.get(name) == current.version:
        state = csds_pb2.ERROR
    elif accepted == current.version:
        state = csds_pb2.SYNCED
    else:
        state = csds_pb2.STALE
    row = csds_pb2.ClientConfig.GenericXdsConfig(
        type_url=type_url, name=name, version_info=accepted, config_status=state
    )
    if state == csds_pb2.ERROR:
        row.error_state.details = subscription.error
    return row


def _ads(server: XdsServer) -> grpc.GenericRpcHandler:
    return grpc.method_handlers_generic_handler(
        _ADS,
        {
            "StreamAggregatedResources": grpc.stream_stream_rpc_method_handler(
                server.aggregated, discovery_pb2.DiscoveryRequest.FromString, _as_it_is
            ),
            "DeltaAggregatedResources": grpc.stream_stream_rpc_method_handler(
                server.incremental, discovery_pb2.DeltaDiscoveryRequest.FromString, _as_it_is
            ),
        },
    )


def _csds(server: XdsServer) -> grpc.GenericRpcHandler:
    async def fetch(request: Any, context: Any) -> Any:
        return server.statuses()

    async def stream(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for _ in requests:
            yield server.statuses()

    read = csds_pb2.ClientStatusRequest.FromString
    write: Callable[[Any], bytes] = csds_pb2.ClientStatusResponse.SerializeToString
    return grpc.method_handlers_generic_handler(
        _CSDS,
        {
            "FetchClientStatus": grpc.unary_unary_rpc_method_handler(fetch, read, write),
            "StreamClientStatus": grpc.stream_stream_rpc_method_handler(stream, read, write),
        },
    )


def _as_it_is(data: bytes) -> bytes:
    return data
