"""A gRPC channel to a service that chooses a pod for each request.

It takes the place of `grpc.aio.insecure_channel` for generated stubs:

    async with Channel("greeter.default:50051", server="127.0.0.1:18000", zone="a") as channel:
        await GreeterStub(channel).SayHello(request)
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from typing import Any

import grpc

from tiphys.addons.endpoints.balancing import Address, Balancer, Member
from tiphys.addons.endpoints.discovery import follow
from tiphys.client.tasks import TaskGroup

_ATTEMPTS = 5
# seconds that a connection to an endpoint which is gone stays, for what is under way there
_LINGER = 30.0
_LOOK = 0.05  # seconds between two looks whether a connection is still in use
_OPTIONS = (("grpc.initial_reconnect_backoff_ms", 200),)
_UNANSWERED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
"""There was no server, or one that is stopping dropped the request: a client that cancels its own
sees no status."""


class NoEndpoints(ConnectionError):
    """The service is not known, or has no endpoint that takes requests."""


class Channel:
    """`service` is ``NAME.NAMESPACE:PORT``, `server` the xDS server's ``host:port``, `zone` the
    client's own.

    A request that no endpoint answered (UNAVAILABLE, or CANCELLED by a server that is stopping) is
    tried on up to four others. `wait` is how many seconds the first request waits for endpoints.
    """

    def __init__(self, service: str, server: str, zone: str = "", wait: float = 5.0) -> None:
        self._service = service
        self._server = server
        self._wait = wait
        self._balancer = Balancer(zone)
        self._channels: dict[Address, grpc.aio.Channel] = {}
        self._known = asyncio.Event()
        self._tasks = TaskGroup(f"channel to {service}")

    async def __aenter__(self) -> Channel:
        work = follow(self._server, self._service, f"tiphys-{uuid.uuid4()}", self._update)
        self._tasks.start(work, "follow")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._tasks.stop()
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))
        self._channels.clear()

    def _update(self, addresses: list[Address]) -> None:
        members = {member.address: member for member in self._balancer.members}
        for address in self._balancer.update(addresses, time.monotonic()):
            channel = self._channels.pop(address, None)
            if channel is not None:
                self._tasks.start(_retire(channel, members[address]), f"close {address.target}")
        if addresses:
            self._known.set()
        else:
            self._known.clear()

    async def _pick(self, tried: frozenset[Address]) -> Member | None:
        if not self._known.is_set():
            try:
                await asyncio.wait_for(self._known.wait(), self._wait)
            except TimeoutError:
                raise NoEndpoints(
                    f"{self._service} has no endpoints (xDS server {self._server})"
                ) from None
        return self._balancer.pick(time.monotonic(), tried)

    def _connected(self, address: Address) -> grpc.aio.Channel:
        channel = self._channels.get(address)
        if channel is None:
            channel = grpc.aio.insecure_channel(address.target, options=_OPTIONS)
            self._channels[address] = channel
        return channel

    def unary_unary(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool = False,
    ) -> Callable[..., Any]:
        """A call with one request and one answer, as generated stubs ask for it."""

        async def call(request: Any, **options: Any) -> Any:
            tried: frozenset[Address] = frozenset()
            failure: BaseException = NoEndpoints(f"{self._service} has no endpoint left to try")
            for _ in range(_ATTEMPTS):
                member = await self._pick(tried)
                if member is None:
                    break
                tried |= {member.address}
                stub = self._connected(member.address).unary_unary(
                    method, request_serializer, response_deserializer
                )
                member.under_way += 1
                try:
                    answer = await stub(request, **options)
                except grpc.aio.AioRpcError as error:
                    reached = error.code() not in _UNANSWERED
                    self._balancer.failed(member, time.monotonic(), reached)
                    if reached:
                        raise
                    failure = error
                    continue
                finally:
                    member.under_way -= 1
                self._balancer.succeeded(member)
                return answer
            raise failure

        return call


async def _retire(channel: grpc.aio.Channel, member: Member) -> None:
    """Closes the connection to an endpoint that is gone once nothing is under way there.

    gRPC's own grace does not see calls that another task waits for, and would cancel them.
    """
    end = time.monotonic() + _LINGER
    while member.under_way and time.monotonic() < end:  # noqa: ASYNC110 (calls end one by one)
        await asyncio.sleep(_LOOK)
    await channel.close()
