"""Probes and hooks: how a container is asked whether it is well, and the loop that asks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from tiphys.api import core_v1
from tiphys.machinery.protobuf import varint
from tiphys.node.httpprobe import Answer, Get, dial_error
from tiphys.node.runtime import Runtime, RuntimeFault

_OUTPUT = 10 << 10  # bytes of what a command says that are looked at, as upstream
_EAGER = 10  # tries in the first second of a container's life


def port_of(value: int | str, container: Any) -> int:
    """A port number, or the number of the container's port of that name."""
    if isinstance(value, int):
        return value
    return next(
        (p.container_port for p in container.ports if p.name == value),
        int(value) if value.isascii() and value.isdigit() else 0,
    )


def http_get(action: core_v1.HTTPGetAction, container: Any, ip: str) -> Get:
    headers = tuple((header.name, header.value) for header in action.http_headers)
    return Get(
        action.scheme, action.host or ip, port_of(action.port, container), action.path, headers
    )


async def tcp_socket(
    action: core_v1.TCPSocketAction, container: Any, ip: str, timeout: float
) -> Answer:
    host, port = action.host or ip, port_of(action.port, container)
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
            return Answer(True, "")
    except TimeoutError:
        return Answer(False, f"dial tcp {host}:{port}: i/o timeout")
    except OSError as error:
        return Answer(False, dial_error(host, port, error))


_SERVING = (
    "UNKNOWN",
    "SERVING",
    "NOT_SERVING",
    "SERVICE_UNKNOWN",
)  # as the health service numbers them


async def grpc_check(action: core_v1.GRPCAction, ip: str, timeout: float) -> Answer:
    """The standard health service: status 1 is serving."""
    import grpc.aio

    where = f"{ip}:{action.port}"
    service = (action.service or "").encode()
    request = b"\x0a" + varint(len(service)) + service if service else b""
    try:
        async with grpc.aio.insecure_channel(where) as channel:
            call = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=lambda b: b,
                response_deserializer=lambda b: b,
            )
            answer = await call(request, timeout=timeout)
    except grpc.aio.AioRpcError as error:
        return Answer(
            False, _grpc_failure(error.code().name, error.details() or "", where, timeout)
        )
    number = answer[1] if len(answer) == 2 and answer[0] == 8 else 0
    state = _SERVING[number] if number < len(_SERVING) else str(number)
    return Answer(state == "SERVING", f'service unhealthy (responded with "{state}")')


def _grpc_failure(code: str, details: str, where: str, timeout: float) -> str:
    if code == "UNIMPLEMENTED":
        return f"error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {details}"
    if code == "DEADLINE_EXCEEDED":
        return f"timeout: health rpc did not complete within {timeout:g}s"
    if code == "UNAVAILABLE":
        return f'timeout: failed to connect service "{where}" within {timeout:g}s: {details}'
    return f"error: health rpc probe failed: rpc error: code = {code.title().replace('_', '')} desc = {details}"


async def ask(
    handler: Any, container: Any, id: str, ip: str, runtime: Runtime, timeout: float
) -> Answer:
    """Runs one handler of a probe or hook. Never raises for what the container does."""
    if runtime.name.startswith("hollow"):
        return Answer(True, "")
    if getattr(handler, "exec", None) is not None:
        try:
            code, output = await runtime.exec(id, handler.exec.command, timeout)
        except TimeoutError:
            command = " ".join(handler.exec.command)
            return Answer(False, f'command timed out: "{command}" timed out after {timeout:g}s')
        except RuntimeFault as fault:
            return Answer(False, str(fault))
        return Answer(code == 0, output[:_OUTPUT].decode(errors="replace"))
    if handler.http_get is not None:
        return await http_get(handler.http_get, container, ip).ask(timeout)
    if handler.tcp_socket is not None:
        return await tcp_socket(handler.tcp_socket, container, ip, timeout)
    if getattr(handler, "grpc", None) is not None:
        return await grpc_check(handler.grpc, ip, timeout)
    if getattr(handler, "sleep", None) is not None:
        await asyncio.sleep(handler.sleep.seconds)
    return Answer(True, "")


class Verdict:
    """Counts a probe's results against its thresholds. Pure."""

    def __init__(self, probe: core_v1.Probe, initial: bool) -> None:
        self._probe = probe
        self.well = initial
        self.run_length = 0
        self._last: bool | None = None

    def add(self, success: bool) -> bool:
        """True when the verdict changed, or failed once more past its threshold."""
        self.run_length = self.run_length + 1 if success == self._last else 1
        self._last = success
        needed = self._probe.success_threshold if success else self._probe.failure_threshold
        if self.run_length < max(1, needed):
            return False
        changed = self.well != success
        self.well = success
        return changed or not success


class Prober:
    """One probe of one container, asked for as long as the container lives."""

    def __init__(
        self,
        kind: str,
        probe: core_v1.Probe,
        container: Any,
        id: str,
        runtime: Runtime,
        ip: Callable[[], str],
        began: float = 0.0,
        well: bool = False,
    ) -> None:
        """`began` is when the container did, `well` whether it was when it was last asked, by an agent before this one."""
        self.kind, self.probe, self.container, self.id = kind, probe, container, id
        self._runtime, self._ip = runtime, ip
        self._tries = 0
        self._began = began
        self.verdict = Verdict(probe, initial=well or kind == "liveness")

    @property
    def exhausted(self) -> bool:
        """It failed as often in a row as the probe allows."""
        return not self.verdict.well and self.verdict.run_length >= self.probe.failure_threshold

    async def run(self, report: Callable[[Prober, Answer], None]) -> None:
        """Calls `report(self, answer)` whenever the verdict matters, or the answer is one to warn of."""
        if delay := self.probe.initial_delay_seconds:
            await asyncio.sleep(max(0.0, delay - max(0.0, time.time() - self._began)))
        while True:
            answer = await ask(
                self.probe,
                self.container,
                self.id,
                self._ip(),
                self._runtime,
                self.probe.timeout_seconds or 1,
            )
            matters, pause = self.count(answer.well)
            if matters or answer.warning:
                report(self, answer)
            if self.kind == "startup" and self.verdict.well:
                return
            await asyncio.sleep(pause)

    def count(self, success: bool) -> tuple[bool, float]:
        """Counts one answer: (whether the verdict matters, seconds until the next question).

        Whoever waits for the pod waits for its first success: in its first second it is asked more often. What fails then is
        not counted, for a threshold is meant in periods.
        """
        waited_for = (
            self.kind != "liveness"
            and not self.verdict.well
            and not self.probe.initial_delay_seconds
        )
        self._tries += 1
        if waited_for and not success and self._tries <= _EAGER:
            return False, 0.1
        matters = self.verdict.add(success) or (not success and self._tries > _EAGER)
        return matters, self.probe.period_seconds
