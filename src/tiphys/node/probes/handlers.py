"""The handlers of probes and lifecycle hooks: a command, an HTTP request, a connection, a gRPC
health check, or a pause."""

from __future__ import annotations

import asyncio
from typing import Any

from tiphys.api import core_v1
from tiphys.machinery.protobuf import varint
from tiphys.node.probes.httpprobe import Answer, Get, dial_error
from tiphys.node.runtime import Runtime, RuntimeFault

_OUTPUT = 10 << 10  # bytes of a command's output that are kept, as upstream
_SERVING = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")  # by number (grpc.health.v1)
_SERVICE_FIELD = b"\x0a"  # field 1, a string, of HealthCheckRequest
_STATUS_FIELD = 8  # field 1, an enum, of HealthCheckResponse


async def run_handler(
    handler: Any, container: Any, id: str, ip: str, runtime: Runtime, timeout: float
) -> Answer:
    """Runs a probe or hook in the container `id` or against the address `ip`, for at most `timeout`
    seconds. Raises nothing for what the container does."""
    if getattr(handler, "sleep", None) is not None:  # needs no process: hollow pods do it, too
        await asyncio.sleep(handler.sleep.seconds)
        return Answer(True, "")
    if not runtime.runs_processes:
        return Answer(True, "")
    if getattr(handler, "exec", None) is not None:
        return await _run_command(handler.exec.command, id, runtime, timeout)
    if handler.http_get is not None:
        return await http_get(handler.http_get, container, ip).ask(timeout)
    if handler.tcp_socket is not None:
        return await tcp_socket(handler.tcp_socket, container, ip, timeout)
    if getattr(handler, "grpc", None) is not None:
        return await grpc_check(handler.grpc, ip, timeout)
    return Answer(True, "")


async def _run_command(command: list[str], id: str, runtime: Runtime, timeout: float) -> Answer:
    try:
        code, output = await runtime.exec(id, command, timeout)
    except TimeoutError:
        shown = " ".join(command)
        return Answer(False, f'command timed out: "{shown}" timed out after {timeout:g}s')
    except RuntimeFault as fault:
        return Answer(False, str(fault))
    return Answer(code == 0, output[:_OUTPUT].decode(errors="replace"))


def port_of(value: int | str, container: Any) -> int:
    """A port number, or the number of the container's port of that name; 0 if there is none."""
    if isinstance(value, int):
        return value
    for port in container.ports:
        if port.name == value:
            return int(port.container_port)
    if value.isascii() and value.isdigit():
        return int(value)
    return 0


def http_get(action: core_v1.HTTPGetAction, container: Any, ip: str) -> Get:
    headers = tuple((header.name, header.value) for header in action.http_headers)
    port = port_of(action.port, container)
    return Get(action.scheme, action.host or ip, port, action.path, headers)


async def tcp_socket(
    action: core_v1.TCPSocketAction, container: Any, ip: str, timeout: float
) -> Answer:
    """Success is a connection."""
    host = action.host or ip
    port = port_of(action.port, container)
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
            return Answer(True, "")
    except TimeoutError:
        return Answer(False, f"dial tcp {host}:{port}: i/o timeout")
    except OSError as error:
        return Answer(False, dial_error(host, port, error))


async def grpc_check(action: core_v1.GRPCAction, ip: str, timeout: float) -> Answer:
    """Asks the standard health service. Success is the status SERVING."""
    import grpc.aio

    address = f"{ip}:{action.port}"
    service = (action.service or "").encode()
    request = _SERVICE_FIELD + varint(len(service)) + service if service else b""
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=bytes,
                response_deserializer=bytes,
            )
            response = await check(request, timeout=timeout)
    except grpc.aio.AioRpcError as error:
        code = error.code().name
        return Answer(False, _grpc_failure(code, error.details() or "", address, timeout))
    return _grpc_answer(response)


def _grpc_answer(response: bytes) -> Answer:
    number = response[1] if len(response) == 2 and response[0] == _STATUS_FIELD else 0
    status = _SERVING[number] if number < len(_SERVING) else str(number)
    return Answer(status == "SERVING", f'service unhealthy (responded with "{status}")')


def _grpc_failure(code: str, details: str, address: str, timeout: float) -> str:
    if code == "UNIMPLEMENTED":
        return (
            "error: this server does not implement the grpc health protocol "
            f"(grpc.health.v1.Health): {details}"
        )
    if code == "DEADLINE_EXCEEDED":
        return f"timeout: health rpc did not complete within {timeout:g}s"
    if code == "UNAVAILABLE":
        return f'timeout: failed to connect service "{address}" within {timeout:g}s: {details}'
    name = code.title().replace("_", "")
    return f"error: health rpc probe failed: rpc error: code = {name} desc = {details}"
