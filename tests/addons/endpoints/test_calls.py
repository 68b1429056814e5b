"""Calls over a channel whose endpoints are told by hand: what is tried again, where, and how often."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest

from tests.addons.endpoints.world import Pod
from tiphys.addons.endpoints.balancing import Address
from tiphys.addons.endpoints.channel import Channel, NoEndpoints

METHOD = "/test.Who/Are"


class Failing(Pod):
    """Ends every call with a status."""

    code = grpc.StatusCode.UNAVAILABLE

    async def _answer(self, request: bytes, context: Any) -> bytes:
        self.calls += 1
        await context.abort(self.code, "no")
        raise AssertionError("abort raises")


@asynccontextmanager
async def channel(*pods: Pod, wait: float = 0.05) -> AsyncIterator[Channel]:
    """That knows these pods; its xDS server is away."""
    async with AsyncExitStack() as stack:
        for pod in pods:
            await pod.start()
            stack.push_async_callback(pod.stop)
        made = await stack.enter_async_context(Channel("who.default:80", "127.0.0.1:1", wait=wait))
        made._update([address(pod) for pod in pods])
        yield made


def address(pod: Pod) -> Address:
    return Address(f"127.0.0.1:{pod.port}", pod.zone)


async def call(made: Channel, **options: Any) -> str:
    answer = await made.unary_unary(METHOD)(b"", timeout=10, **options)
    return str(answer.decode())


async def test_a_call_that_nobody_answered_is_tried_on_another() -> None:
    bad, good = Failing("bad", ""), Pod("good", "")
    async with channel(bad, good) as made:
        assert [await call(made) for _ in range(8)] == ["good"] * 8
        assert 1 <= bad.calls <= 2, "it is passed over for a second"


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
async def test_no_call_is_tried_on_more_than_five(code: grpc.StatusCode) -> None:
    pods = [Failing(f"bad-{number}", "") for number in range(7)]
    for pod in pods:
        pod.code = code
    async with channel(*pods) as made:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call(made)
        assert failed.value.code() == code
        assert sorted(pod.calls for pod in pods) == [0, 0, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("code", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL])
async def test_an_answer_is_an_answer_however_bad(code: grpc.StatusCode) -> None:
    """It may have done something: only what no server answered is sent again."""
    pods = [Failing(f"bad-{number}", "") for number in range(3)]
    for pod in pods:
        pod.code = code
    async with channel(*pods) as made:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call(made)
        assert failed.value.code() == code and sum(pod.calls for pod in pods) == 1


async def test_what_is_under_way_is_counted_and_no_longer_when_it_ends() -> None:
    slow, bad = Pod("slow", ""), Failing("bad", "")
    slow.delay = 0.05
    async with channel(slow, bad) as made:
        calling = asyncio.ensure_future(call(made))
        async with asyncio.timeout(5):
            while not slow.calls:  # noqa: ASYNC110 (a server sets no event)
                await asyncio.sleep(0.001)
        assert sum(member.under_way for member in made._balancer.members) == 1
        await calling
        assert sum(member.under_way for member in made._balancer.members) == 0


async def test_a_service_whose_endpoints_went_is_waited_for() -> None:
    pod = Pod("late", "")
    async with channel(wait=5.0) as made:
        calling = asyncio.ensure_future(call(made))
        await pod.start()
        made._update([address(pod)])
        assert await calling == "late"
        made._update([])
        made._wait = 0.01
        with pytest.raises(NoEndpoints, match=r"who\.default:80 has no endpoints \(xDS server 127"):
            await call(made)
        await pod.stop()


async def test_a_call_that_is_under_way_ends_where_its_pod_goes() -> None:
    slow, other = Pod("slow", ""), Pod("other", "")
    slow.delay = 0.1
    async with channel(slow) as made:
        calling = asyncio.ensure_future(call(made))
        async with asyncio.timeout(5):
            while not slow.calls:  # noqa: ASYNC110 (a server sets no event)
                await asyncio.sleep(0.001)
        await other.start()
        made._update([address(other)])
        assert await call(made) == "other"
        assert await calling == "slow"
        await other.stop()
