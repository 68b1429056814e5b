"""The handlers of probes and hooks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.node.hollow import HollowRuntime
from tiphys.node.probes.handlers import (
    _grpc_answer,
    _grpc_failure,
    grpc_check,
    http_get,
    port_of,
    run_handler,
    tcp_socket,
)
from tiphys.node.runtime import RuntimeFault
from tiphys.testing.cluster import free_port


def container(**more: Any) -> core_v1.Container:
    return pod(containers=[{"name": "c", "image": "i", **more}]).spec.containers[0]


WITH_PORT = container(ports=[{"name": "web", "containerPort": 8080}])


@pytest.mark.parametrize(
    ("port", "number"), [(80, 80), ("web", 8080), ("81", 81), ("other", 0), ("٣", 0)]
)
def test_ports_have_numbers_and_names(port: int | str, number: int) -> None:
    assert port_of(port, WITH_PORT) == number


@pytest.mark.parametrize(("host", "asked"), [("", "10.0.0.9"), ("example.com", "example.com")])
def test_a_request_goes_to_the_pod_unless_it_names_a_host(host: str, asked: str) -> None:
    action = core_v1.HTTPGetAction(scheme="HTTPS", host=host, port="web", path="/x")
    get = http_get(action, WITH_PORT, "10.0.0.9")
    assert (get.scheme, get.host, get.port, get.path) == ("HTTPS", asked, 8080, "/x")


class Commands(HollowRuntime):
    """A runtime whose commands have a result."""

    runs_processes = True

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result

    async def exec(self, id: str, command: list[str], timeout: float) -> tuple[int, bytes]:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("result", "well", "text"),
    [
        ((0, b"fine"), True, "fine"),
        ((1, b"no\xff"), False, "no\ufffd"),
        (TimeoutError(), False, 'command timed out: "a b" timed out after 2s'),
        (RuntimeFault("UNKNOWN", "gone"), False, "gone"),
    ],
)
async def test_commands(result: Any, well: bool, text: str) -> None:
    probe = core_v1.Probe(exec=core_v1.ExecAction(command=["a", "b"]))
    answer = await run_handler(probe, container(), "id", "", Commands(result), 2.0)
    assert (answer.well, answer.text) == (well, text)


async def test_no_more_of_the_output_is_kept_than_upstream_keeps() -> None:
    probe = core_v1.Probe(exec=core_v1.ExecAction(command=["a"]))
    answer = await run_handler(probe, container(), "id", "", Commands((0, bytes(20_000))), 2.0)
    assert len(answer.text) == 10 << 10


async def test_nothing_is_run_where_containers_are_no_processes() -> None:
    probe = core_v1.Probe(tcp_socket=core_v1.TCPSocketAction(port=1))
    assert (await run_handler(probe, container(), "id", "127.0.0.1", HollowRuntime(), 1.0)).well


async def test_a_connection_is_success() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        action = core_v1.TCPSocketAction(port=port)
        assert (await tcp_socket(action, container(), "127.0.0.1", 5)).well
    refused = await tcp_socket(action, container(), "127.0.0.1", 5)
    text = f"dial tcp 127.0.0.1:{port}: connect: connection refused"
    assert (refused.well, refused.text) == (False, text)


@pytest.mark.parametrize(
    ("response", "status", "well"),
    [
        (b"\x08\x01", "SERVING", True),
        (b"\x08\x02", "NOT_SERVING", False),
        (b"\x08\x03", "SERVICE_UNKNOWN", False),
        (b"", "UNKNOWN", False),
        (b"\x08\x07", "7", False),
        (b"\x10\x01", "UNKNOWN", False),
    ],
)
def test_only_a_service_that_serves_is_healthy(response: bytes, status: str, well: bool) -> None:
    answer = _grpc_answer(response)
    assert answer == (well, f'service unhealthy (responded with "{status}")', False)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (
            "UNIMPLEMENTED",
            "error: this server does not implement the grpc health protocol "
            "(grpc.health.v1.Health): d",
        ),
        ("DEADLINE_EXCEEDED", "timeout: health rpc did not complete within 1s"),
        ("UNAVAILABLE", 'timeout: failed to connect service "a:1" within 1s: d'),
        (
            "NOT_FOUND",
            "error: health rpc probe failed: rpc error: code = NotFound desc = d",
        ),
    ],
)
def test_failures_of_health_checks(code: str, text: str) -> None:
    assert _grpc_failure(code, "d", "a:1", 1.0) == text


class Health:
    """The standard health service: answers with bytes, or refuses."""

    answer: bytes = b"\x08\x01"
    refusal: grpc.StatusCode | None = None
    asked = b""

    async def check(self, request: bytes, context: Any) -> bytes:
        self.asked = request
        if self.refusal is not None:
            await context.abort(self.refusal, "no")
        return self.answer


@pytest_asyncio.fixture
async def health() -> AsyncIterator[tuple[Health, int]]:
    made, server = Health(), grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(made.check)
    handler = grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": method})
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield made, port
    await server.stop(0)


@pytest.mark.parametrize(("service", "request_"), [(None, b""), ("", b""), ("web", b"\x0a\x03web")])
async def test_a_service_is_asked_for_its_health_by_name(
    health: tuple[Health, int], service: str | None, request_: bytes
) -> None:
    one, port = health
    answer = await grpc_check(core_v1.GRPCAction(port=port, service=service), "127.0.0.1", 5)
    assert answer.well and one.asked == request_


@pytest.mark.parametrize("answer", [b"\x08\x02", b"", b"\x08\x03", b"\x10\x01"])
async def test_only_serving_is_well(health: tuple[Health, int], answer: bytes) -> None:
    one, port = health
    one.answer = answer
    assert not (await grpc_check(core_v1.GRPCAction(port=port), "127.0.0.1", 5)).well


async def test_a_service_that_refuses_is_not_well(health: tuple[Health, int]) -> None:
    one, port = health
    one.refusal = grpc.StatusCode.UNIMPLEMENTED
    found = await grpc_check(core_v1.GRPCAction(port=port), "127.0.0.1", 5)
    assert not found.well and found.text


async def test_each_kind_of_handler_is_run_where_there_are_processes(
    health: tuple[Health, int],
) -> None:
    _, port = health
    runtime = Commands((0, b"x" * 20000))
    with_exec = core_v1.Probe()
    with_exec.exec = core_v1.ExecAction(command=["ls"])
    found = await run_handler(with_exec, WITH_PORT, "id", "127.0.0.1", runtime, 1)
    assert found.well and 0 < len(found.text) < 20000
    with_grpc = core_v1.Probe()
    with_grpc.grpc = core_v1.GRPCAction(port=port)
    assert (await run_handler(with_grpc, WITH_PORT, "id", "127.0.0.1", runtime, 5)).well
    closed = core_v1.Probe()
    closed.tcp_socket = core_v1.TCPSocketAction(port=free_port())
    assert not (await run_handler(closed, WITH_PORT, "id", "127.0.0.1", runtime, 1)).well
    open_ = core_v1.Probe()
    open_.tcp_socket = core_v1.TCPSocketAction(port=port)
    assert (await run_handler(open_, WITH_PORT, "id", "127.0.0.1", runtime, 1)).well
    get = core_v1.Probe()
    get.http_get = core_v1.HTTPGetAction(port=free_port())
    assert not (await run_handler(get, WITH_PORT, "id", "127.0.0.1", runtime, 1)).well
    assert (await run_handler(core_v1.Probe(), WITH_PORT, "id", "x", runtime, 1)).well
    hollow = HollowRuntime()
    assert (await run_handler(closed, WITH_PORT, "id", "127.0.0.1", hollow, 1)).well


async def test_a_hook_may_only_wait() -> None:
    hook = core_v1.LifecycleHandler(sleep=core_v1.SleepAction(seconds=0))
    assert (await run_handler(hook, WITH_PORT, "id", "x", HollowRuntime(), 1)).well
